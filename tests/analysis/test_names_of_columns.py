"""Names that users give: methods that are no texts, columns called like those of results, lists in place of names."""

import io

import numpy as np
import pandas as pd
import pytest

import analysis
from tests.support.frame_cases import CASES, CRITERIA, KEPT, LOCATED, METHODS, SUMMARY, VALUES, answers, table

pytestmark = pytest.mark.usefixtures("without_type_checker")

OTHER_NAMES = {
    "ints": dict(zip(METHODS, (36, 72, 9, "nothing dropped"), strict=True)),
    "bools": {"random": False, "v2drop": True, "downsample": "downsample", "nothing dropped": "nothing dropped"},
    "pairs": {name: (name, i) for i, name in enumerate(METHODS)},
}


def renamed(frame, names, columns=("method",)):
    return frame.assign(**{c: pd.Series([names[v] for v in frame[c]], frame.index, dtype=object) for c in columns})


def by_labels(frame, labels):
    return frame.drop(columns=labels).set_axis(frame[labels].astype(str).agg(" ".join, axis=1)).sort_index()


@pytest.mark.parametrize("names", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_methods_may_have_any_names(names):
    given = renamed(answers(), names)
    for call in (
        lambda f: analysis.summarise_accuracy(f, ["method", "budget"]),
        lambda f: analysis.pairwise_differences(f),
        lambda f: analysis.pairwise_differences(f[f.method.isin([f.method.iloc[0], f.method.iloc[12]])]),
        lambda f: analysis.paired_difference(f, f.method.iloc[0], ["budget"]),
    ):
        found, expected = call(given), call(answers())
        labels = [name for name in ("method", "first", "second", "budget") if name in expected]
        expected = renamed(expected, names, [name for name in labels if name != "budget"])
        pd.testing.assert_frame_equal(by_labels(found, labels), by_labels(expected, labels))


@pytest.mark.parametrize("names", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_what_is_not_there_is_said_beside_any_names(names):
    given, one = renamed(answers(), names), names["random"]
    alone = given[[name == one for name in given.method]]
    located = renamed(LOCATED, dict(zip(CRITERIA, names.values(), strict=False)), ["criterion"])
    for call, said in {
        lambda: analysis.paired_difference(given, "v3", ["budget"]): "baseline must be one of .*; got 'v3'",
        lambda: analysis.accuracy_by_difficulty(given, "v3"): "judge must be one of .*; got 'v3'",
        lambda: analysis.accuracy_by_difficulty(alone, one): "must hold the method 'nothing dropped'; got",
        lambda: analysis.pairwise_differences(alone): "must be two values of 'method' at a budget; got",
        lambda: analysis.criterion_minus_baseline(located, "v3", VALUES[:2]): "baseline must be one of .*; got 'v3'",
        lambda: analysis.paired_difference(given, ["v3"], ["budget"]): r"baseline must be one of .*; got \['v3'\]",
    }.items():
        with pytest.raises(ValueError, match=said):
            call()


NAMELESS = {
    "mean_by_group": lambda v: analysis.mean_by_group(answers(), ["method"], v),
    "summarise_accuracy": lambda v: analysis.summarise_accuracy(answers(), ["method", "budget"], v),
    "paired_difference": lambda v: analysis.paired_difference(answers(), "random", ["budget"], v),
    "pairwise_differences": lambda v: analysis.pairwise_differences(answers(), v),
    "with_planted_bias": lambda v: analysis.with_planted_bias(table(), v, 0.5),
    "content_position_shares": lambda v: analysis.content_position_shares(CASES["content_position_shares"].frame, v),
}


@pytest.mark.parametrize("value", [None, ["right"]], ids=repr)
@pytest.mark.parametrize("name", NAMELESS)
def test_a_column_has_a_single_name(name, value):
    """None was taken for the index, whose numbers were averaged."""
    with pytest.raises(ValueError, match="(value|criterion|column) must be a single name; got"):
        NAMELESS[name](value)


@pytest.mark.parametrize(
    ("call", "taken"),
    [
        (lambda: analysis.mean_by_group(answers().rename(columns={"budget": "n"}), ["method", "n"], "right"), "n"),
        (lambda: analysis.mean_by_group(answers(), ["right"], "right"), "right"),
        (lambda: analysis.summarise_accuracy(answers(), ["method", "question"]), "question"),
        (lambda: analysis.paired_difference(answers(), "random", ["method"]), "method"),
        (lambda: analysis.paired_difference(answers(), "random", ["budget"], "budget"), "budget"),
        (lambda: analysis.summarise_layers(LOCATED, ["layer", *VALUES]), "layer"),
        (lambda: analysis.criterion_minus_baseline(LOCATED, "c", VALUES), "criterion"),
        (lambda: analysis.retention(KEPT, ["layer", "criterion", "sample"], bins=3), "sample"),
        (lambda: analysis.end_to_start_ratio(KEPT, ["layer", "criterion", "sample"], bins=3), "sample"),
        (lambda: analysis.agreement(table(), ["layer", "a"]), "layer"),
        (lambda: analysis.kept_tokens_by(table(), 0.5, table().columns), "sample, layer, token"),
    ],
)
def test_names_that_other_columns_have_are_refused(call, taken):
    with pytest.raises(ValueError, match=f"must not hold {taken}, which is the name of another column here; got"):
        call()


def test_lists_of_names_may_be_anything_that_holds_names():
    expected = analysis.agreement(table(), CRITERIA)
    for criteria in (tuple(CRITERIA), (name for name in CRITERIA), np.array(CRITERIA), pd.Index(CRITERIA)):
        found = analysis.agreement(table(), criteria)
        pd.testing.assert_frame_equal(found, expected)
        assert {type(name) for name in found["first"]} == {str}
    by_budget = analysis.mean_by_group(answers(), ["method", "budget"], "right")
    found = analysis.mean_by_group(answers(), np.array(["method", "budget"]), "right", unit="question")
    pd.testing.assert_frame_equal(found, by_budget)
    assert {type(name) for name in found} == {str}


def test_a_summary_without_all_layers_comes_through_a_file():
    """Its layers are then numbers only."""
    summary = SUMMARY[SUMMARY.layer != "all"]
    read = pd.read_csv(io.StringIO(summary.to_csv(index=False)))
    pd.testing.assert_frame_equal(
        analysis.agreement_matrix(read, "rbo", 1), analysis.agreement_matrix(summary, "rbo", np.int64(1))
    )
    with pytest.raises(ValueError, match=r"layer must be one of 0, 1; got \[0\]"):
        analysis.agreement_matrix(read, "rbo", [0])


@pytest.mark.parametrize("images", ["aabb", {0: 0, 1: 0, 2: 1, 3: 1}, 3, {0, 1}, [[0], [0], [1], [1]]], ids=repr)
def test_pictures_are_a_list_of_numbers_or_names(images):
    with pytest.raises(ValueError, match="images must be a list with the number or name of each sample's picture"):
        analysis.question_dependence(table(), images, CRITERIA)


def test_similarities_are_at_most_1():
    alike = pd.DataFrame([[1.0, 5.0], [5.0, 1.0]], ["a", "b"], ["a", "b"])
    with pytest.raises(ValueError, match=r"similarities must lie in \[-1, 1\]; got 5"):
        analysis.criterion_groups(alike)
