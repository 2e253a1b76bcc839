"""Bias against accuracy: the rank correlation over groups of criteria, with its exact permutation test."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from analysis.position.bias_cost import bias_accuracy_correlation


def answers(shares, questions=40):
    """Every method answers so many of the questions: the first ones."""
    rows = [(name, q, q < share * questions) for name, share in shares.items() for q in range(questions)]
    return pd.DataFrame(rows, columns=["method", "question", "right"])


def apart(bias):
    """Every criterion a group of its own."""
    return pd.Series(range(len(bias)), index=bias.index)


def test_a_bias_that_costs_answers_correlates_with_them():
    bias = pd.Series({"a": 0.1, "b": 0.2, "c": 0.7, "d": 0.9})
    opposed = answers({"a": 0.8, "b": 0.6, "c": 0.4, "d": 0.2})
    found = bias_accuracy_correlation(bias, opposed, apart(bias))
    assert found.to_dict() == pytest.approx({"spearman": -1, "p": 2 / 24, "groups": 4, "criteria": 4})  # 2 of 4! orders
    assert bias_accuracy_correlation(-bias, opposed, apart(bias)).spearman == pytest.approx(1)
    mixed = opposed.sample(frac=1, random_state=0)
    assert bias_accuracy_correlation(bias[["c", "a", "d", "b"]], mixed, apart(bias)).spearman == pytest.approx(-1)


def test_the_link_is_spearmans_with_its_exact_p():
    rng = np.random.default_rng(0)
    frame = answers(dict.fromkeys("abcde", 0.5), 31).assign(right=rng.random(155))
    bias = pd.Series(rng.random(5), index=list("ebcda"))
    mean = frame.groupby("method").right.mean()[bias.index]
    found = bias_accuracy_correlation(bias, frame, apart(bias))
    assert found.spearman == pytest.approx(spearmanr(bias, mean).statistic)
    null = [abs(spearmanr(bias, order).statistic) for order in permutations(mean)]
    assert found.p == pytest.approx(np.mean(np.array(null) >= abs(found.spearman) - 1e-9))


def test_copies_of_a_criterion_add_nothing():
    """Twenty near-copies of one of four criteria: p stays that of four, where it was that of 23."""
    bias = pd.Series({"a": 0.1, "b": 0.2, "c": 0.7, "d": 0.9} | {f"d{i}": 0.9 + 0.001 * i for i in range(20)})
    right = {"a": 0.8, "b": 0.6, "c": 0.4, "d": 0.2} | {f"d{i}": 0.2 for i in range(20)}
    groups = apart(bias).where(~bias.index.str.startswith("d"), 99)
    found = bias_accuracy_correlation(bias, answers(right), groups)
    assert found.to_dict() == pytest.approx({"spearman": -1, "p": 2 / 24, "groups": 4, "criteria": 24})
    assert bias_accuracy_correlation(bias, answers(right), apart(bias)).p < 0.01


def test_a_group_has_the_means_of_its_criteria():
    """By hand: groups with bias 1, 2, 3 and accuracy .5, .3, .4 have rank correlation -1/2."""
    bias = pd.Series({"a": 0.0, "b": 2.0, "c": 2.0, "d": 3.0})
    right = {"a": 0.1, "b": 0.9, "c": 0.3, "d": 0.4}
    found = bias_accuracy_correlation(bias, answers(right), pd.Series({"d": 3, "c": 2, "b": 1, "a": 1, "other": 7}))
    assert found.spearman == pytest.approx(-0.5) and found.p == 1 and found.groups == 3


def test_unrelated_groups_are_linked_at_the_level():
    """300 draws of six groups, three of them pairs of copies: p below 5 % as often (binomial, 4 sd)."""
    rng, p = np.random.default_rng(0), []
    names = list("abcdefghi")
    groups = pd.Series([0, 0, 1, 1, 2, 2, 3, 4, 5], index=names)
    frame = answers(dict.fromkeys(names, 0.5), 5)
    for _ in range(300):
        of_group, accuracy = rng.random(6), rng.random(6)
        bias = pd.Series(of_group[groups] + 0.001 * rng.random(9), index=names)
        drawn = frame.assign(right=accuracy[groups[frame.method]] + 0.001 * rng.random(len(frame)))
        p.append(bias_accuracy_correlation(bias, drawn, groups).p)
    for level in (0.05, 0.5):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 300))


def test_any_value_of_the_answers_can_be_linked():
    frame = answers({"a": 0.8, "b": 0.6, "c": 0.4}).assign(log_probability=lambda t: -1.0 * t.right)
    bias = pd.Series({"a": 3.0, "b": 2.0, "c": 1.0})
    for value, expected in (("right", 1), ("log_probability", -1)):
        assert bias_accuracy_correlation(bias, frame, apart(bias), value).spearman == pytest.approx(expected)


def test_what_is_the_same_for_all_and_two_groups_have_no_correlation():
    bias = pd.Series({"a": 3.0, "b": 2.0, "c": 1.0})
    level, uneven = answers(dict.fromkeys("abc", 0.5)), answers({"a": 0.8, "b": 0.6, "c": 0.0})
    for one, answered, groups in (
        (bias, level, apart(bias)),
        (bias * 0, uneven, apart(bias)),
        (bias, uneven, apart(bias).clip(upper=1)),
    ):
        found = bias_accuracy_correlation(one, answered, groups)
        assert found[["spearman", "p"]].isna().all() and found.criteria == 3 and found.groups == groups.nunique()


def test_more_groups_than_orders_asked_for_are_drawn():
    rng = np.random.default_rng(0)
    bias = pd.Series(rng.random(9), index=list("abcdefghi"))
    frame = answers(dict.fromkeys(bias.index, 0.5), 10).assign(right=rng.random(90))
    few, same = (bias_accuracy_correlation(bias, frame, apart(bias), permutations=99) for _ in range(2))
    many = bias_accuracy_correlation(bias, frame, apart(bias), permutations=9999)
    assert few.equals(same) and few.spearman == many.spearman
    assert few.p == pytest.approx(many.p, abs=4 * np.sqrt(0.25 / 99))


def test_wrong_criteria_groups_and_answers_are_refused(without_type_checker):
    bias = pd.Series({"a": 3.0, "b": 2.0, "c": 1.0})
    frame, groups = answers({"a": 0.8, "b": 0.6, "c": 0.4}), apart(bias)
    for call, said in {
        lambda: bias_accuracy_correlation(bias[["a", "b"]], frame, groups): "three criteria or more.* answered; got 2",
        lambda: bias_accuracy_correlation(
            pd.Series({"e": 1.0, "a": 2.0, "b": 0.0, "d": 2.0}), frame, pd.Series(0, index=list("abde"))
        ): r"got 4, without \['d', 'e'\]",
        lambda: bias_accuracy_correlation(bias, frame, groups.drop("b")): r"must be in a group; got \['b'\] in none",
        lambda: bias_accuracy_correlation(bias, frame, {"a": 1}): "groups must be a Series of one group.*; got dict",
        lambda: bias_accuracy_correlation(bias, frame.iloc[1:], groups): "every question must be answered.*; got 1",
        lambda: bias_accuracy_correlation(bias.where(bias > 1), frame, groups): "must hold finite numbers; got nan",
        lambda: bias_accuracy_correlation(bias, frame, groups, permutations=0): "permutations must be an int of 1",
    }.items():
        with pytest.raises(ValueError, match=said):
            call()
