"""Figures in notebooks: described, as wide as the page at most, sharp, and closed."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from analysis.figures import legend_below, show
from analysis.figures.display import PAGE_WIDTH, picture


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: calls.append((data, metadata)))
    yield calls
    plt.close("all")


@pytest.mark.parametrize("axes", [True, False])
def test_a_picture_comes_with_its_description_and_twice_its_pixels(shown, axes):
    figure, ax = plt.subplots(figsize=(4, 3))
    show(ax if axes else figure, "A square,\n   empty.")
    ((data, metadata),) = shown
    assert data["text/plain"] == "A square, empty."
    assert metadata == {"image/png": {"width": 400, "height": 300, "alt": "A square, empty."}}
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (800, 600)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("width", "text", "message"), [(4, " ", "what is drawn"), (PAGE_WIDTH + 1, "a", "inches wide")]
)
def test_what_cannot_be_read_is_refused(shown, width, text, message):
    with pytest.raises(ValueError, match=message):
        show(plt.figure(figsize=(width, 1)), text)
    assert not shown


def test_few_colours_are_enough():
    figure, ax = plt.subplots(figsize=(2, 2))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    ax.set_position((0, 0, 1, 1))
    ax.axis("off")
    ax.imshow(image, aspect="auto")
    seen = np.asarray(Image.open(io.BytesIO(picture(figure))).convert("RGB"))[25::50, 25::50]
    assert np.abs(seen.astype(int) - image).max() <= 16
    plt.close(figure)


def test_one_legend_for_all_panels():
    figure, axes = plt.subplots(1, 2, layout="constrained")
    for ax in axes:
        ax.plot([0, 1], label="one")
        ax.plot([1, 0], label=f"in {ax.get_subplotspec().colspan.start}")
        ax.legend()
    legend_below(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "in 0", "in 1"]
    assert not any(ax.get_legend() for ax in axes)
    plt.close(figure)
