"""What has no answer is NaN or refused: one sample, one token, nothing asked, arguments of other types."""

import numpy as np
import pandas as pd
import pytest

import analysis
from tests.support.frame_cases import CASES, CRITERIA, KEPT, answers, labels, table
from tests.support.impact_tables import synthetic
from v2drop import Schedule

DROP = Schedule({1: 30})


pytestmark = pytest.mark.usefixtures("without_type_checker")

ONE_SAMPLE = {
    "bootstrap_interval": lambda: pd.Series(analysis.bootstrap_interval([0.5]), ["low", "high"]),
    "proportion_interval": lambda: pd.Series(analysis.proportion_interval([True]), ["low", "high"]),
    "summarise_layers": lambda: analysis.summarise_layers(
        analysis.agreement(table(samples=1), CRITERIA), ["statistic", "first", "second"]
    ),
    "score_position": lambda: analysis.score_position(table(samples=1), "a"),
    "retention": lambda: analysis.retention(KEPT[KEPT["sample"] == 0], ["layer", "criterion"], bins=3),
    "end_to_start_ratio": lambda: analysis.end_to_start_ratio(KEPT[KEPT["sample"] == 0], ["layer", "criterion"], 3),
    "summarise_accuracy": lambda: analysis.summarise_accuracy(answers().query("question == 0"), ["method", "budget"]),
    "paired_difference": lambda: analysis.paired_difference(answers().query("question == 0"), "random", ["budget"]),
    "equivalence": lambda: analysis.equivalence(
        answers().query("question == 0"), "random", ["budget"], 0.1, "log_probability"
    ).rename(columns={"low_90": "low", "high_90": "high"}),
    "distance_from_uniform": lambda: analysis.distance_from_uniform(
        KEPT[KEPT["sample"] == 0], ["layer", "criterion"], 3, 9
    ),
    "distance_difference": lambda: analysis.distance_difference(KEPT[KEPT["sample"] == 0], "c", bins=3),
    "summarise_impact": lambda: analysis.summarise_impact(synthetic(samples=1)),
    "theorem_by_group": lambda: analysis.theorem_by_group(synthetic(samples=1)).query("samples == 1"),
    "kept_overlap": lambda: analysis.kept_overlap(CASES["kept_overlap"].frame.query("question == 0"), 9),
}


@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_an_interval_over_one_sample_is_nan_and_no_point(name):
    found = ONE_SAMPLE[name]()
    assert np.isnan(np.array([found["low"], found["high"]], dtype=float)).all()


def test_rankings_of_one_token_have_no_correlation():
    found = analysis.summarise_impact(synthetic(samples=4, tokens=1))
    ranked = found[found.statistic.isin(["spearman", "kendall"])]
    assert len(ranked) and ranked[["mean", "low", "high"]].isna().all(axis=None) and (ranked.samples == 0).all()


def test_samples_of_one_token_are_left_out_of_the_mean_and_of_the_count():
    many, one = synthetic(samples=3), synthetic(samples=1, tokens=1).assign(sample=9)
    keys = ["layer", "statistic", "criterion", "target", "tokens", "versus"]
    alone, both = (analysis.summarise_impact(t).set_index(keys) for t in (many, pd.concat([many, one])))
    row = ("all", "spearman", "variation_l1", "drop_impact", "all", "")
    assert both.loc[row].equals(alone.loc[row]) and both.loc[row].samples == 3
    assert both.loc[("all", "bound_holds", "", "revert_impact", "all", "")].samples == 4


def test_a_mean_over_nothing_is_said():
    with pytest.raises(ValueError, match="numbers, at least one"):
        analysis.bootstrap_interval([])
    for wrong in ([1.0, np.inf], ["0.5", "1"], [1.0, None]):
        with pytest.raises(ValueError, match="values must hold finite numbers; got"):
            analysis.bootstrap_interval(wrong)


@pytest.mark.parametrize("columns", ["method", ["method"], ("method",), pd.Index(["method"])])
def test_one_column_or_a_list_of_one(columns):
    frame = answers().query("budget == 36")
    assert analysis.summarise_accuracy(frame, columns).method.tolist() == list(frame.method.unique())


def test_questions_of_groups_that_are_not_told_apart_are_not_counted_twice():
    """Both budgets have question 0; an interval over both rows would be too short."""
    with pytest.raises(
        ValueError, match="method, question must be there once; got 24 again.* method random, question 0"
    ):
        analysis.summarise_accuracy(answers(), "method")


ARGUMENTS = {
    "batch_size": lambda loaded, v: analysis.accuracy(loaded, analysis.sample(1), {"whole": None}, batch_size=v),
    "max_new_tokens": lambda loaded, v: analysis.accuracy(
        loaded, analysis.sample(1), {"whole": None}, max_new_tokens=v
    ),
    "n_tokens": lambda _, v: analysis.token_labels(analysis.sample(1), v),
    "n_tokens of kept_overlap": lambda _, v: analysis.kept_overlap(CASES["kept_overlap"].frame, v),
    "seed": lambda _, v: analysis.pairwise_differences(answers(), seed=v if v else 0.5),
    "draws": lambda _, v: analysis.distance_from_uniform(KEPT, ["layer", "criterion"], 3, v),
    "permutations": lambda _, v: analysis.per_sample(synthetic(samples=1), permutations=v),
    "frames": lambda _, v: analysis.with_grid_place(KEPT, v),
    "bins": lambda _, v: analysis.planted_kept(2, 20, 0.3, 1.0, bins=v),
    "block": lambda _, v: analysis.planted_kept(2, 20, 0.3, 1.0, block=v),
    "samples": lambda _, v: analysis.planted_kept(v, 20, 0.3, 1.0),
    "trials": lambda _, v: analysis.detection_power(1.0, 2, 20, 0.3, trials=v),
    "step": lambda _, v: analysis.content_position_shares(CASES["content_position_shares"].frame, "score", v),
}


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None, np.nan], ids=repr)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_numbers_are_not_turned_into_others(name, value, embedded):
    argument = name.partition(" ")[0]
    with pytest.raises(ValueError, match=rf"{argument} must be an int .*; got"):
        ARGUMENTS[name](embedded, value)


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, True, "0.05"], ids=repr)
def test_levels_are_shares(value):
    pairs = analysis.pairwise_differences(answers())
    for call in (analysis.win_counts, lambda p, level: analysis.significant_pairs(p[p.budget == 36], level)):
        with pytest.raises(ValueError, match="level must be a finite number from 0 to 1; got"):
            call(pairs, value)


@pytest.mark.parametrize("ratios", [np.nan, "0.5", [0.5, None], [True], {0.5: 1}, 0, 1.5], ids=repr)
def test_ratios_are_shares_above_0(ratios):
    calls = [
        lambda: analysis.agreement(table(), CRITERIA, ratios),
        lambda: analysis.localisation(table(), labels(), CRITERIA, ratios),
        lambda: analysis.question_dependence(table(), [0, 0, 1, 1], CRITERIA, ratios),
        lambda: analysis.per_sample(synthetic(samples=1), ratios),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="ratios must .*; got"):
            call()


@pytest.mark.parametrize("criteria", [[], ["a", "a"], None, 3, [["a"]]], ids=repr)
def test_criteria_are_different_names(criteria):
    for call in (analysis.agreement, analysis.score_position, lambda t, c: analysis.kept_tokens_by(t, 0.5, c)):
        with pytest.raises(ValueError, match="criteria must be different names, one or more; got"):
            call(table(), criteria)


def test_one_criterion_agrees_with_no_other():
    with pytest.raises(ValueError, match="two criteria or more must have scores at a layer; got a"):
        analysis.agreement(table(), "a")


@pytest.mark.parametrize("images", [[0, 0, 1], [], {}.values()], ids=repr)
def test_a_sample_without_a_picture_is_said(images):
    with pytest.raises(ValueError, match="images must hold the picture of every sample.* samples up to 3"):
        analysis.question_dependence(table(), images, CRITERIA)


def test_pictures_in_any_list_and_with_other_tokens():
    expected = analysis.question_dependence(table(), [0, 0, 1, 1], CRITERIA)
    for images in (np.array([0, 0, 1, 1]), pd.Series([0, 0, 1, 1], index=[9, 8, 7, 6]), (0, 0, 1, 1)):
        pd.testing.assert_frame_equal(analysis.question_dependence(table(), images, CRITERIA), expected)
    short = table().query("not (sample == 1 and token == 8)")
    with pytest.raises(ValueError, match="must have the same tokens; got 9, 8 at image 0"):
        analysis.question_dependence(short, [0, 0, 1, 1], CRITERIA)


@pytest.mark.parametrize(
    ("statistic", "layer", "said"), [("spearmann", "all", "statistic"), ("rbo", 7, "layer"), ("rbo", True, "layer")]
)
def test_a_matrix_of_what_is_not_there(statistic, layer, said):
    with pytest.raises(ValueError, match=f"{said} must be one of .*; got"):
        analysis.agreement_matrix(CASES["agreement_matrix"].frame, statistic, layer)


def test_groups_are_made_of_a_symmetric_matrix_with_one_name_for_each_row():
    alone = pd.DataFrame([[1.0]], ["a"], ["a"])
    assert analysis.criterion_groups(alone).to_dict() == {"a": 1}
    for wrong in (alone.rename(columns={"a": "b"}), alone.iloc[:0], alone.to_numpy()):
        with pytest.raises(ValueError, match="similarity must be a matrix with the same names on both sides"):
            analysis.criterion_groups(wrong)
    with pytest.raises(ValueError, match="must be symmetric"):
        analysis.criterion_groups(pd.DataFrame([[1.0, 0.1], [0.9, 1.0]], ["a", "b"], ["a", "b"]))


def test_scores_of_other_pictures_or_of_another_model_are_refused(embedded):
    """The questions have the same numbers, and the run went on with the scores of others."""
    asked = analysis.sample(3, seed=0)
    right, other = (analysis.scored(embedded, analysis.sample(3, seed=seed), [0]) for seed in (0, 1))
    make = lambda scores: {"given": analysis.method_from_column(scores, "attention_last", DROP)}  # noqa: E731
    assert len(analysis.accuracy(embedded, asked, make(right))) == 3
    with pytest.raises(ValueError, match=r"scores of these questions by this model; its token_norm is off by \d"):
        analysis.accuracy(embedded, asked, make(other))
    assert len(analysis.accuracy(embedded, asked, make(other.drop(columns="token_norm")))) == 3  # nothing to know it by
    with pytest.raises(ValueError, match="Are they the scores of other questions"):
        more = other[other.vision_index == 0].assign(vision_index=144, token=999)
        analysis.accuracy(embedded, asked, make(pd.concat([right, more])))


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, "0.5"])
def test_scores_that_are_no_numbers_are_not_dropped_by(wrong):
    scores = table().assign(a=[wrong, *table().a.iloc[1:]])
    with pytest.raises(ValueError, match="a of the table must hold finite numbers or NaN; got"):
        analysis.method_from_column(scores, "a", DROP)
    with pytest.raises(ValueError, match="schedule must be a Schedule"):
        analysis.method_from_column(table(), "a", {1: 30})
