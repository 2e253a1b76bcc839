"""The grids of vision tokens: every family's tokens show the part of the picture that they are said to show."""

import re
from copy import deepcopy
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from analysis.figures import overlay, token_maps
from analysis.models.loaded import Loaded
from analysis.models.token_grids import LAYOUTS, grids_of
from analysis.scenes.ground_truth import token_labels
from analysis.scenes.questions import Question, sample
from analysis.statistics.grids import TokenGrid, as_grids, painted, token_centres
from tests.support import zoo
from tests.support.zoo_processors import PROCESSORS
from v2drop.models.families import FAMILIES
from v2drop.models.parts import locate

SIZES = [(96, 96), (24, 40), (48, 16), (32, 64)]
SQUARE_ONLY = ("llava", "llava_next", "llava_next_video", "video_llava")  # their processors crop to a square
QUARTERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@cache
def without_mixing(name):
    """The zoo's model; what attention in its tower finds is multiplied by zero."""
    model = deepcopy(zoo.model(name, zoo.operators(name)[-1]))
    written = [
        p
        for key, p in model.named_parameters()
        if re.search("vis|tower", key) and re.search(r"attn\.(out_)?proj|attention\.proj", key)
    ]
    assert written
    for parameter in written:
        parameter.zero_()
    return model


def embeddings(loaded, picture):
    """What the decoder is given for each vision token."""
    inputs, seen = loaded.inputs([picture], ["where"]), []
    hook = locate(loaded.model).decoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        loaded.model(**inputs)
    hook.remove()
    return seen[0][0, loaded.vision_positions(inputs)[0]]


def flat(height, width):
    """A picture without anything in it, but for a little noise that makes tokens differ."""
    return np.random.default_rng(0).integers(120, 130, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", PROCESSORS)
def test_a_change_of_the_picture_is_seen_where_the_grids_say(name, size):
    """Where patches do not look at each other, no quarter of the picture moves a token as much as its own."""
    if name in SQUARE_ONLY and size[0] != size[1]:
        pytest.skip(f"{name} crops")
    loaded = Loaded(name, without_mixing(name), zoo.processor(name))
    height, width = size
    before = flat(height, width)
    centres, plain = token_centres(loaded.token_grids(before)), embeddings(loaded, before)
    moved = []
    for down, along in QUARTERS:
        after = before.copy()
        after[down * height // 2 : (down + 1) * height // 2, along * width // 2 : (along + 1) * width // 2] = (
            250,
            0,
            250,
        )
        moved.append((embeddings(loaded, after) - plain).norm(dim=-1).numpy())
    newline = np.isnan(centres[:, 0])
    clear = ~newline & (np.abs(centres - 0.5) > 1e-9).all(1)  # not half in one quarter and half in another
    quarter = (np.nan_to_num(centres) * 2).astype(int) @ [2, 1]
    assert len(centres) == len(plain) and clear.any() and not np.array(moved)[:, newline].any()
    assert np.argmax(moved, 0)[clear].tolist() == quarter[clear].tolist()


def test_every_family_has_a_layout():
    assert {family.layout for family in FAMILIES.values()} == set(LAYOUTS)


def test_a_layout_that_gives_another_number_is_refused():
    with pytest.raises(ValueError, match="layout 'merged patches' gives 6 tokens for a picture of 20 x 30 .*has 7"):
        settings = type("Processor", (), {"image_processor": type("Images", (), {"merge_size": 2})})
        grids_of("merged patches", settings, {"image_grid_thw": torch.tensor([[1, 4, 6]])}, None, (20, 30), 7)


def test_painting_by_hand():
    numbers = np.arange(4.0)
    assert painted(numbers, 4).tolist() == [[0, 1], [2, 3]]
    lines = [TokenGrid(2, 1, newline=True)]
    assert painted(np.array([1.0, 9, 2, 9]), lines).tolist() == [[1], [2]]
    both = [TokenGrid(1, 1), TokenGrid(1, 1, box=(0.0, 0.0, 0.5, 1.0))]
    assert painted(np.array([1.0, 3.0]), both, resolution=2).tolist() == [[2, 2], [1, 1]]
    half = painted(np.array([3.0]), [TokenGrid(1, 1, box=(0.0, 0.0, 0.5, 1.0))], resolution=2)
    assert half[0].tolist() == [3, 3] and np.isnan(half[1]).all()
    with pytest.raises(ValueError, match="a value a token, 4; got 3"):
        painted(np.arange(3.0), 4)


def test_a_number_that_is_no_square_says_where_the_grids_are():
    with pytest.raises(ValueError, match=r"square number.*got 24\. `Loaded.token_grids` has the grids"):
        as_grids(24)


def test_labels_and_overlays_follow_the_grids():
    """Two tiles of one token and a newline each: left and right half, then the whole picture in 12 x 12."""
    halves = [TokenGrid(1, 1, (0.0, 0.0, 1.0, 0.5), newline=True), TokenGrid(1, 1, (0.0, 0.5, 1.0, 1.0), newline=True)]
    grids = [*halves, TokenGrid(12, 12)]
    middle_left = 6 * 12 + 3  # the patch under the centre of the left half
    asked = [(sample(1)[0][0], Question("what", "", "", relevant=(middle_left,), objects=(middle_left,)))]
    labels = token_labels(asked, grids).label.tolist()
    assert labels[:4] == ["relevant", "background", "background", "background"]
    assert [i for i, label in enumerate(labels) if label == "relevant"] == [0, 4 + middle_left]
    ax = overlay(asked[0][0].image, [0], grids, plt.subplots()[1])
    shade = ax.images[1].get_alpha()
    assert shade[96, 10] == pytest.approx(0.39) and shade[96, 150] == pytest.approx(0.78)  # one of two dropped, both
    plt.close("all")


def test_maps_of_a_picture_that_is_no_square_have_its_rows_and_columns():
    table = pd.DataFrame({"variation_l2": np.arange(1.0, 7.0)})
    shown = token_maps(table, np.zeros((2, 3, 3), np.uint8), ["variation_l2"], [TokenGrid(2, 3)]).axes[1].images[0]
    assert shown.get_array().tolist() == [[1, 2, 3], [4, 5, 6]]
    plt.close("all")
