"""A planted bias does what it says; the link of bias and accuracy is the one of the ranks."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from analysis.position.bias_cost import bias_accuracy_correlation, with_planted_bias
from analysis.scenes.ground_truth import object_third
from analysis.scenes.mosaic import Digit, Scene
from analysis.scenes.questions import Question, sample
from analysis.statistics.rankings import ranks


def synthetic(samples=2, layers=2, tokens=7, seed=0):
    rng = np.random.default_rng(seed)
    keys = np.stack(np.meshgrid(range(samples), range(layers), range(tokens), indexing="ij")).reshape(3, -1)
    table = pd.DataFrame(dict(zip(["sample", "layer", "vision_index"], keys, strict=True))).assign(token=keys[2] + 4)
    return table.assign(a=rng.random(len(table)).round(1))


def answers(shares, questions=40, column="right"):
    """Every method answers so many of the questions: the first ones."""
    rows = [(name, q, q < share * questions) for name, share in shares.items() for q in range(questions)]
    return pd.DataFrame(rows, columns=["method", "question", column])


def test_strength_0_ranks_as_the_criterion_and_strength_1_by_position():
    table = synthetic()
    found = with_planted_bias(table, "a", [0.0, 1.0])
    for _, group in found.groupby(["sample", "layer"]):
        first, last = (ranks(group[["a+0"]].to_numpy().T), ranks(group[["a+1"]].to_numpy().T))
        assert (first == ranks(group[["a"]].to_numpy().T)).all() and (last == np.arange(7)[::-1]).all()
    assert found["a+1"].max() == 1 and found[["a+0", "a+1"]].min().min() == 0


def test_strengths_between_by_hand():
    table = pd.DataFrame({"sample": 0, "layer": 0, "token": [5, 6, 7], "vision_index": [0, 1, 2], "a": [9.0, 1.0, 1.0]})
    found = with_planted_bias(table, "a", [0.25, 0.5])  # places from the lowest: 1, 1/4, 1/4; positions 0, 1/2, 1
    assert found["a+0.25"].tolist() == pytest.approx([0.75, 0.75 / 4 + 0.125, 0.75 / 4 + 0.25])
    assert found["a+0.5"].tolist() == pytest.approx([0.5, 0.375, 0.625])


def test_the_table_is_left_as_it_was_whatever_the_order_of_its_rows():
    table = synthetic().sample(frac=1, random_state=0)
    before = table.copy()
    found = with_planted_bias(table, "a", [0.3])
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(found[list(table)], before)
    pd.testing.assert_series_equal(
        found["a+0.3"].sort_index(), with_planted_bias(table.sort_index(), "a", [0.3])["a+0.3"]
    )


def test_one_token_has_nothing_to_prefer():
    assert (with_planted_bias(synthetic(tokens=1), "a", [0.0, 0.5, 1.0])[["a+0", "a+0.5", "a+1"]] == 0).all(axis=None)


def test_strengths_out_of_range_are_refused():
    for wrong in ([-0.1], [0.5, 1.1], [np.nan]):
        with pytest.raises(ValueError, match="each of strengths must be a finite number from 0 to 1; got"):
            with_planted_bias(synthetic(), "a", wrong)


def test_a_criterion_that_is_partly_nan_is_not_hidden():
    """A whole layer of NaN would be left out by whoever ranks the new column."""
    table = synthetic()
    with pytest.raises(ValueError, match="a of the table must hold finite numbers; got nan in 1 of 28 rows"):
        with_planted_bias(table.assign(a=table.a.where(table.index != 3)), "a", [0.5])


@pytest.mark.parametrize(("row", "place"), list(enumerate(["start", "start", "middle", "middle", "end", "end"])))
def test_thirds_by_hand(row, place):
    patches = tuple(24 * row + 2 * (5 - row) + step for step in (0, 1, 12, 13))
    thing = Digit(7, "red", (16 * row, 16 * (5 - row)), 16, patches)
    scene = Scene(np.zeros((96, 96, 3), dtype=np.uint8), (thing,))
    ask = [(scene, Question(kind, "", "", thing.patches, thing.patches)) for kind in ("how-many", "what", "where")]
    nothing = (scene, Question("is-there", "", "no", (), thing.patches))
    found = object_third([*ask, nothing, ask[1]])
    assert found.question.tolist() == [1, 2, 4] and found.place.tolist() == [place] * 3


def test_places_of_a_drawn_test_set():
    asked = sample(60)
    found = object_third(asked).set_index("question").place
    assert list(found.index) == [i for i, (_, q) in enumerate(asked) if q.kind in ("what", "colour", "where")]
    for number, place in found.items():
        scene, question = asked[number]
        thing = next(thing for thing in scene.digits if thing.patches == question.relevant)
        third = ("start", "middle", "end").index(place)
        assert abs(thing.centre[0] / 32 - 0.5 - third) < 0.7  # the patches' mean row may lie beside the centre


def test_a_bias_that_costs_answers_correlates_with_them():
    bias = pd.Series({"a": 0.1, "b": 0.2, "c": 0.7, "d": 0.9})
    opposed = answers({"a": 0.8, "b": 0.6, "c": 0.4, "d": 0.2})
    found = bias_accuracy_correlation(bias, opposed, resamples=99)
    assert found.spearman == found.low == found.high == pytest.approx(-1) and found.criteria == 4
    assert found.p == pytest.approx(2 / 24)  # two of the orders of four criteria lie as far from zero
    assert bias_accuracy_correlation(-bias, opposed, resamples=9).spearman == pytest.approx(1)
    shuffled = bias[["c", "a", "d", "b"]]
    mixed = opposed.sample(frac=1, random_state=0)
    assert bias_accuracy_correlation(shuffled, mixed, resamples=9).spearman == pytest.approx(-1)


def test_the_link_is_spearmans_with_its_exact_p():
    rng = np.random.default_rng(0)
    frame = answers(dict.fromkeys("abcde", 0.5), 31).assign(right=rng.random(155))
    bias = pd.Series(rng.random(5), index=list("ebcda"))
    mean = frame.groupby("method").right.mean()[bias.index]
    found = bias_accuracy_correlation(bias, frame, resamples=300)
    assert found.spearman == pytest.approx(spearmanr(bias, mean).statistic)
    null = [abs(spearmanr(bias, order).statistic) for order in permutations(mean)]
    assert found.p == pytest.approx(np.mean(np.array(null) >= abs(found.spearman) - 1e-9))
    assert found.low <= found.spearman <= found.high and found.low < found.high


def test_the_interval_is_that_of_questions_drawn_again():
    rng = np.random.default_rng(1)
    frame = answers(dict.fromkeys("abcdefgh", 0.5), 40)
    frame = frame.assign(right=rng.random(len(frame)))
    bias = pd.Series(rng.random(8), index=list("abcdefgh"))
    found = bias_accuracy_correlation(bias, frame, resamples=2000)
    wide = frame.pivot(index="question", columns="method", values="right")[bias.index].to_numpy()
    drawn = [spearmanr(bias, wide[rng.integers(40, size=40)].mean(0)).statistic for _ in range(2000)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.06)
    assert found.high - found.low > 0.5


def test_any_value_of_the_answers_can_be_linked():
    frame = answers({"a": 0.8, "b": 0.6, "c": 0.4}).assign(log_probability=lambda t: -1.0 * t.right)
    bias = pd.Series({"a": 3.0, "b": 2.0, "c": 1.0})
    for value, expected in (("right", 1), ("log_probability", -1)):
        assert bias_accuracy_correlation(bias, frame, value, 9).spearman == pytest.approx(expected)


def test_what_is_the_same_for_all_has_no_correlation():
    bias = pd.Series({"a": 3.0, "b": 2.0, "c": 1.0})
    level, uneven = answers(dict.fromkeys("abc", 0.5)), answers({"a": 0.8, "b": 0.6, "c": 0.0})
    for one, answered in ((bias, level), (bias * 0, uneven)):
        found = bias_accuracy_correlation(one, answered, resamples=99)
        assert found[["spearman", "low", "high", "p"]].isna().all() and found.criteria == 3


def test_unrelated_criteria_are_linked_at_the_level():
    """150 draws of six criteria: p below 5 % as often, the mean correlation 0.

    39 permutations are enough: their smallest p is 1 / 40, and 2 / 40 lies at the level.
    """
    rng, found = np.random.default_rng(0), []
    frame = answers(dict.fromkeys("abcdef", 0.5), 20)
    for _ in range(150):
        drawn = frame.assign(right=rng.random(len(frame)))
        found.append(bias_accuracy_correlation(pd.Series(rng.random(6), index=list("abcdef")), drawn, resamples=39))
    found = pd.DataFrame(found)
    assert found.spearman.mean() == pytest.approx(0, abs=4 * found.spearman.std() / np.sqrt(150))
    assert (found.p <= 0.05).mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 150)
    assert (found.p <= 0.5).mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(150))


def test_the_interval_is_that_of_the_questions():
    """More questions make the order of two close criteria more certain; the interval narrows to a point."""
    rng = np.random.default_rng(0)
    bias = pd.Series({"a": 0.0, "b": 1.0, "c": 2.0})
    widths = []
    for questions in (10, 2000):
        frame = answers(dict.fromkeys("abc", 0.5), questions)
        right = rng.random(len(frame)) < frame.method.map({"a": 0.8, "b": 0.6, "c": 0.4})
        found = bias_accuracy_correlation(bias, frame.assign(right=right), resamples=300)
        widths.append(found.high - found.low)
    assert widths[0] > 0 and widths[1] == 0


def test_too_few_criteria_and_missing_answers_are_refused():
    frame = answers({"a": 0.8, "b": 0.6, "c": 0.4})
    with pytest.raises(ValueError, match="three criteria or more, all of them answered; got 2"):
        bias_accuracy_correlation(pd.Series({"a": 1.0, "b": 2.0}), frame)
    with pytest.raises(ValueError, match=r"got 4, without \['d', 'e'\]"):
        bias_accuracy_correlation(pd.Series({"e": 1.0, "a": 2.0, "b": 0.0, "d": 2.0}), frame)


def test_nan_is_refused():
    frame, bias = answers({"a": 0.8, "b": 0.6, "c": 0.4}), pd.Series({"a": 3.0, "b": 2.0, "c": 1.0})
    with pytest.raises(ValueError):
        bias_accuracy_correlation(bias, frame.iloc[1:])  # a question that one method was not asked
    with pytest.raises(ValueError):
        bias_accuracy_correlation(bias.where(bias > 1), frame)
