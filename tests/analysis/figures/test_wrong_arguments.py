"""What cannot be drawn is said; what has no interval is drawn without one."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.figures import criterion_bars, interval_dots, interval_table, level, lines, overlay, pair_matrix
from analysis.figures.curves import lines_with_error_bars

PICTURE = np.zeros((96, 96, 3), np.uint8)
ROWS = pd.DataFrame({"method": ["a", "b"], "budget": 72, "mean": [0.5, 0.6], "low": [0.4, 0.5], "high": [0.6, 0.7]})


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.mark.parametrize("kept", [[-1], [16], [1.0], [True], ["1"]])
def test_tokens_that_a_picture_does_not_have_are_not_drawn(kept, ax, without_type_checker):
    """Token -1 was drawn as the last one."""
    with pytest.raises(ValueError, match="each of kept must be an int from 0 to 15; got"):
        overlay(PICTURE, kept, 16, ax)
    with pytest.raises(ValueError, match="each of relevant must be an int from 0 to 143; got -1"):
        overlay(PICTURE, [], 16, ax, [-1])


def test_axes_are_x_and_y(ax):
    with pytest.raises(ValueError, match="axis must be one of 'x', 'y'; got 'Y'"):
        level(ax, 0, axis="Y")


@pytest.mark.parametrize("digits", [-1, 2.0, True, "2"], ids=repr)
def test_digits_are_counted(digits, without_type_checker):
    with pytest.raises(ValueError, match="digits must be an int of 0 or more; got"):
        interval_table(ROWS, "method", "budget", digits)


def test_rows_that_stand_at_one_place_are_said(ax):
    twice = pd.concat([ROWS, ROWS.assign(mean=0.1)])
    with pytest.raises(ValueError, match="method, budget must be there once; got 2 again"):
        interval_table(twice, "method", "budget")
    with pytest.raises(ValueError, match="method, budget must be there once"):
        interval_dots(twice, ["a", "b"], ax)
    pairs = pd.DataFrame({"first": ["a", "a"], "second": ["b", "b"], "difference": [0.1, 0.2]})
    with pytest.raises(ValueError, match="first, second must be there once"):
        pair_matrix(pairs, "difference", ["a", "b"], ax)


def test_what_is_missing_is_named(ax):
    with pytest.raises(ValueError, match=r"rows without \['low'\]"):
        interval_table(ROWS.drop(columns="low"), "method", "budget")
    with pytest.raises(
        ValueError, match=r"every method of order must be in the summary at 72 tokens a layer; got \['c'\]"
    ):
        interval_dots(ROWS, ["a", "c"], ax)


def test_a_third_target_is_not_left_out(ax):
    with pytest.raises(ValueError, match="targets must be one or two; got"):
        criterion_bars(ROWS, "spearman", ["revert_impact", "drop_impact", "drop_kl"], ax)


def test_means_without_an_interval_are_drawn(ax):
    alone = ROWS.assign(low=np.nan, high=np.nan, criterion=ROWS.method, x=[0.0, 1.0])
    interval_dots(alone, ["a", "b"], ax)
    lines(alone, "x", ["a", "b"], ax)
    lines_with_error_bars(alone, "x", ["a", "b"], ax, 0.1)
    ax.get_figure().canvas.draw()
    assert interval_table(alone, "method", "budget").loc["a", 72] == "0.50"
