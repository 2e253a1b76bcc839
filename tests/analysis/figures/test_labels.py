"""One language in all figures: a criterion or method has one name and one look, told apart by more than colour."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from analysis.criteria.scores import CRITERIA as SCORED
from analysis.figures import (
    accuracy_curve,
    by_layer,
    criterion_bars,
    criterion_scatter,
    interval_dots,
    label,
    lines,
    lines_with_error_bars,
    look,
    over_positions,
    pair_matrix,
    variance_shares,
)
from analysis.figures.labels import CRITERIA, LOOKS, METHODS, METHODS_BY_METRIC, QUANTITIES
from v2drop import METHODS as ALL_METHODS

NAMES = ["attention_last", "variation_l2", "random", "predicted_impact"]


@pytest.fixture
def ax():
    yield plt.subplots(figsize=(8, 5))[1]
    plt.close("all")


def rows(column="criterion", names=NAMES, at="layer", n=3):
    keys = pd.MultiIndex.from_product([names, range(n)], names=[column, at]).to_frame(index=False)
    return keys.assign(mean=0.5 + 0.01 * keys.index, low=0.4, high=0.9)


def looks(artists):
    """Label, colour and marker of lines, or of the points of error bars."""
    points = [getattr(artist, "lines", [artist])[0] for artist in artists]
    return {
        artist.get_label(): (to_hex(point.get_color()), point.get_marker())
        for artist, point in zip(artists, points, strict=True)
    }


def expected(names):
    return {label(name): (to_hex(look(name).colour), look(name).marker) for name in names}


def test_all_criteria_and_methods_are_listed():
    assert set(SCORED) <= set(CRITERIA) and set(ALL_METHODS) == set(METHODS)


@pytest.mark.parametrize(
    "group", [CRITERIA | QUANTITIES, METHODS, {**METHODS_BY_METRIC, **METHODS, "v2drop": METHODS["random"]}]
)
def test_names_and_looks_are_unique(group):
    shown = list({id(seen): seen for seen in group.values()}.values())
    for field in ("label",), ("colour", "marker"):
        assert len({tuple(getattr(seen, name) for name in field) for seen in shown}) == len(shown)


def test_what_is_close_in_grey_differs_in_marker_and_in_what_it_is_called():
    for one, other in itertools.combinations((CRITERIA | QUANTITIES).values(), 2):
        grey = [np.dot(to_rgb(seen.colour), (0.299, 0.587, 0.114)) for seen in (one, other)]
        assert abs(grey[0] - grey[1]) > 0.01 or one.marker != other.marker or one.dashes != other.dashes


def test_colours_can_be_seen_on_white():
    for seen in LOOKS.values():
        assert np.dot(to_rgb(seen.colour), (0.299, 0.587, 0.114)) < 0.72, seen


def test_a_method_that_ranks_by_a_criterion_looks_like_it():
    for method, criterion in {"v2drop": "variation_l2", "fastv": "attention_last", "random": "random"}.items():
        assert METHODS[method]._replace(label="") == CRITERIA[criterion]._replace(label="")


def test_what_is_not_listed_keeps_its_name_and_its_look():
    assert label("of my own") == "of my own" and look("of my own") == look("of my own")


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: lines(rows(), "layer", NAMES, ax),
        lambda ax: over_positions(rows(at="bin"), NAMES, 0.3, ax),
        lambda ax: by_layer(
            rows().assign(statistic="s", target="drop_impact", tokens="all", versus=""), "s", "drop_impact", NAMES, ax
        ),
    ],
    ids=["lines", "over_positions", "by_layer"],
)
def test_lines_have_the_looks_of_their_criteria(ax, draw):
    draw(ax)
    assert expected(NAMES).items() <= looks(ax.lines).items()


def test_error_bars_have_the_looks_of_their_criteria(ax):
    lines_with_error_bars(rows(), "layer", NAMES, ax, 0.1)
    assert looks(ax.containers) == expected(NAMES)


def test_points_have_the_looks_of_their_criteria(ax):
    frame = rows(n=1).set_index("criterion")
    criterion_scatter(frame, "layer", "mean", ax)
    assert looks(ax.containers) == expected(NAMES)


def test_curves_have_the_looks_of_their_methods(ax):
    methods = ["v2drop l2", "v2drop cosine", "random", "uniform", "fastv"]
    accuracy_curve(rows("method", methods, "budget").assign(budget=lambda frame: 2 ** (frame.budget + 3)), ax)
    assert looks(ax.containers) == expected(methods)


def test_factors_and_targets_have_the_looks_of_the_table(ax):
    factors = ["variation_l2", "operator_norm", "gain_ratio", "beyond_first_order"]
    frame = rows(names=factors).assign(statistic="lmg_share", target="drop_impact", tokens="all", versus="")
    variance_shares(frame, "drop_impact", ax)
    assert expected(factors).items() <= looks(ax.lines).items() and ax.get_title() == "drop impact"
    pooled = pd.concat(frame.assign(layer="all", target=target).drop_duplicates("criterion") for target in QUANTITIES)
    other = plt.subplots()[1]
    criterion_bars(pooled, "lmg_share", ["revert_impact", "drop_impact"], other)
    assert looks(other.containers) == expected(["revert_impact", "drop_impact"])


def test_methods_have_their_displayed_names_on_axes(ax):
    methods = ["pdrop", "v2drop"]
    interval_dots(rows("method", methods, "budget"), methods, ax, full_model_accuracy=0.9)
    named = ["PyramidDrop", "V2Drop"]
    assert [text.get_text() for text in ax.get_yticklabels()] == named and ax.get_xlabel()
    assert ax.get_legend().get_bbox_to_anchor().transformed(ax.transAxes.inverted()).y0 >= 1  # above, on no row
    pairs = pd.DataFrame({"first": methods, "second": methods[::-1], "mean": [0.1, 0.2]})
    other = plt.subplots()[1]
    pair_matrix(pairs, "mean", methods, other)
    assert [text.get_text() for text in other.get_xticklabels()] == named
