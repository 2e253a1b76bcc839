"""Tables of studies: means, marks that stand only where a paired difference is significant, and what drops nothing."""

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.pairs import paired_difference, pairwise_differences
from analysis.studies import Study, grid
from analysis.studies.tabulate import labels, study_table
from tests.support import toy_cells


def study(**options):
    settings = {"rows": ["method"], "columns": ["average"], "by": ["subject"]} | options
    return Study("toy", toy_cells.power, grid(base=[1]), **settings)


def answers(rights, average=72.0, n=400, seed=0):
    """Answers of methods that are right with some probabilities, independently."""
    rng, parts = np.random.default_rng(seed), []
    for method, right in rights.items():
        rows = {"question": np.arange(n), "draw": 0, "right": rng.random(n) < right}
        parts.append(pd.DataFrame({"subject": "m", "method": method, "average": average, **rows}))
    return pd.concat(parts, ignore_index=True)


def marks(table):
    return {(each.row, each.column): each.mark for each in table.itertuples() if each.mark}


def test_means_with_intervals_by_hand():
    frame = answers({"a": 0.5, "b": 0.5}, n=40)
    table = study_table(frame, study())
    assert list(table.columns) == ["table", "row", "column", "mean", "low", "high", "n", "mark"]
    assert list(table["mean"]) == [frame[frame.method == name].right.mean() for name in "ab"]
    assert set(table.table) == {"m"} and set(table.column) == {"72"} and set(table.n) == {40}


def test_best_and_second_best_are_marked_where_they_are_so_beyond_chance():
    table = study_table(answers({"low": 0.3, "high": 0.9, "middle": 0.6, "nothing dropped": 1.0}), study())
    assert marks(table) == {("high", "72"): "best", ("middle", "72"): "second"}


def test_of_two_that_are_level_none_is_best_though_one_mean_is_larger():
    frame = answers({"a": 0.8, "b": 0.8, "c": 0.3})
    frame.loc[frame.method == "b", "right"] = list(frame[frame.method == "a"].right ^ (frame.question[:400] < 9))
    table = study_table(frame, study())
    assert table["mean"].nunique() == 3 and marks(table) == {}


def test_second_best_needs_a_best():
    rng = np.random.default_rng(1)
    for seed in range(20):
        table = study_table(
            answers(dict(zip("abcd", rng.uniform(0.4, 0.7, 4), strict=True)), n=100, seed=seed), study()
        )
        found = marks(table).values()
        assert list(found).count("best") <= 1 and list(found).count("second") <= list(found).count("best")


def test_equal_methods_are_marked_as_seldom_as_said():
    frames = [answers(dict.fromkeys("abc", 0.6), average=float(i), n=100, seed=i) for i in range(60)]
    assert sum(bool(marks(study_table(frame, study()))) for frame in frames) <= 6  # 5 % of 60, and its chance


def test_more_columns_are_corrected_for_together():
    borderline = next(
        frame
        for seed in range(200)
        if 0.02 < pairwise_differences(frame := answers({"a": 0.6, "b": 0.5}, seed=seed), by=["average"]).q[0] < 0.049
    )
    assert marks(study_table(borderline, study())) == {("a", "72"): "best"}
    equal = [answers({"a": 0.5, "b": 0.5}, average=float(i), seed=i) for i in range(10)]
    assert ("a", "72") not in marks(study_table(pd.concat([borderline, *equal]), study()))


def test_what_has_no_column_stands_in_all_of_them():
    frame = pd.concat([answers({"a": 0.5}), answers({"a": 0.5}, 36.0), answers({"nothing dropped": 1.0}, np.nan)])
    table = study_table(frame, study())
    assert list(table[table.row == "nothing dropped"].column) == ["72", "36"]


def test_columns_of_a_row_can_be_compared_instead():
    frame = pd.concat([answers({"a": 0.9}), answers({"a": 0.5}, 36.0)])
    assert marks(study_table(frame, study(), compare="columns")) == {("a", "72"): "best"}


def test_several_arguments_make_one_label():
    frame = answers({"v2drop": 0.5}).assign(options="metric: l1", layers="1, 6, 8")
    found = labels(frame, study(rows=["method", "options"], columns=["average", "layers"]))
    assert set(found.row) == {"v2drop, metric: l1"} and set(found.column) == {"72, 1, 6, 8"}
    with pytest.raises(ValueError, match="must have the study's columns method, phase; it lacks phase"):
        labels(frame, study(rows=["method", "phase"]))


def test_differences_of_any_column():
    frame = pd.concat([answers({"a": 0.9, "b": 0.7}), answers({"a": 0.5, "b": 0.6}, 36.0)])
    by_average = paired_difference(frame, 36.0, ["method"], of="average")
    assert list(by_average.columns[:3]) == ["average", "method", "mean"] and list(by_average.method) == ["a", "b"]
    swapped = frame.rename(columns={"method": "average", "average": "method"})
    pd.testing.assert_frame_equal(
        by_average.rename(columns={"method": "average", "average": "method"}),
        paired_difference(swapped, 36.0, ["average"]),
    )
    pairs = pairwise_differences(frame, by=["method"], of="average")
    assert list(pairs["first"]) == [72.0, 72.0] and list(pairs.difference) == pytest.approx(list(by_average["mean"]))
