"""Figures show the numbers of their frames, in the order asked for."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.criteria.agreement import criterion_groups
from analysis.figures import (
    criterion_scatter,
    label,
    lines,
    lines_with_error_bars,
    over_positions,
    retention_maps,
    similarity_map,
    variance_parts,
)


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


def curves(criteria, bins):
    keys = pd.MultiIndex.from_product([criteria, range(bins)], names=["criterion", "bin"]).to_frame(index=False)
    mean = np.random.default_rng(0).random(len(keys))
    return keys.assign(mean=mean, low=mean - 0.1, high=mean + 0.1)


def test_lines_and_bands_are_the_frames_own(ax):
    frame = curves(["random", "other"], 4)
    lines(frame, "bin", ["other", "random"], ax)
    assert [line.get_label() for line in ax.lines] == ["other", "random"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), frame["mean"][frame.criterion == "random"])
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(frame.low[frame.criterion == "other"].min())


def test_error_bars_stand_side_by_side(ax):
    frame = curves(["random", "other"], 3)
    lines_with_error_bars(frame, "bin", ["other", "random"], ax, step=0.1)
    first, second = (container.lines[0].get_xydata().T for container in ax.containers)
    np.testing.assert_allclose(second[0] - first[0], 0.1)
    np.testing.assert_allclose((first[0] + second[0]) / 2, [0, 1, 2])
    np.testing.assert_allclose(second[1], frame["mean"][frame.criterion == "random"])


def test_retention_curves_are_drawn_at_the_middles_of_their_bins(ax):
    over_positions(curves(["random"], 4), ["random"], 0.25, ax)
    even, curve = ax.lines
    assert curve.get_xdata().tolist() == [0.125, 0.375, 0.625, 0.875]
    assert set(even.get_ydata()) == {0.25}


def test_maps_show_every_place_row_by_row():
    frame = curves(["random", "key_norm"], 9).sample(frac=1, random_state=0)
    figure = retention_maps(frame, ["key_norm", "random"])
    shown = figure.axes[0].images[0].get_array()
    expected = frame[frame.criterion == "key_norm"].sort_values("bin")["mean"]
    np.testing.assert_allclose(shown, expected.to_numpy().reshape(3, 3))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["key norm", "random"]
    with pytest.raises(ValueError, match="square number"):
        retention_maps(curves(["random"], 5), ["random"])
    plt.close("all")


def test_one_map_is_a_figure_too():
    assert len(retention_maps(curves(["random"], 4), ["random"]).axes) == 2


def test_maps_that_do_not_fill_their_rows_are_drawn():
    names = ["key_norm", "random", "token_norm", "attention_last"]
    figure = retention_maps(curves(names, 4), names)
    figure.canvas.draw()
    assert sum(bool(ax.get_images()) for ax in figure.axes if ax.get_title()) == 4
    plt.close("all")


def test_parts_are_stacked_from_content_to_rest_with_the_first_criterion_on_top(ax):
    shares = {"content": [0.5, 0.1], "position": [0.3, 0.2], "rest": [0.2, 0.7]}
    rows = [(name, part, values[i]) for part, values in shares.items() for i, name in enumerate(("key_norm", "random"))]
    variance_parts(pd.DataFrame(rows, columns=["criterion", "part", "mean"]), ["key_norm", "random"], ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["random", "key norm"]
    widths = [[bar.get_width() for bar in container] for container in ax.containers]
    np.testing.assert_allclose(widths, [[0.1, 0.5], [0.2, 0.3], [0.7, 0.2]])


def test_the_similarity_map_puts_groups_side_by_side_and_draws_lines_between_them(ax):
    names = ["random", "key_norm", "token_norm"]
    alike = pd.DataFrame([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]], names, names)
    groups = criterion_groups(alike)
    similarity_map(alike, groups, ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == [label(name) for name in groups.index]
    assert len(ax.lines) == 2
    np.testing.assert_allclose(ax.collections[0].get_array(), alike.loc[groups.index, groups.index])


def test_points_are_named_in_the_legend(ax):
    frame = pd.DataFrame({"x": [0.1, 0.3], "y": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.2, 2.2]}, ["random", "other"])
    criterion_scatter(frame, "x", "y", ax)
    points = {box.get_label(): box.lines[0].get_xydata().tolist() for box in ax.containers}
    assert points == {"other": [[0.3, 2.0]], "random": [[0.1, 1.0]]}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["other", "random"]  # from top to bottom
