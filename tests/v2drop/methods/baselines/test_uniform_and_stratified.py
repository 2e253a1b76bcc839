"""Uniform in phases and Stratified: by hand, by the formula, by exact probabilities of every outcome."""

from fractions import Fraction
from math import ceil, floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.v2drop.methods.test_seeded import run
from tests.v2drop.methods.test_single_methods import candidates, kept
from v2drop import Schedule, Stratified, Uniform
from v2drop.contract.toys import batch, toy
from v2drop.methods.baselines.stratified import ordered_pivotal


@pytest.mark.parametrize(
    ("n", "left", "phase", "expected"),
    [(12, 3, 0.0, [0, 4, 8]), (12, 3, 0.75, [3, 7, 11]), (10, 2, 0.6, [3, 8]), (3, 1, 1 / 3, [1]), (5, 2, 0.9, [2, 4])],
)
def test_uniform_in_phases_by_hand(n, left, phase, expected):
    """(1 + 3/5) * 5 is 8, though the float 0.6 is less than 3/5."""
    assert kept(Uniform(Schedule({2: left}), phase), candidates(n, left)) == expected


PHASES = st.one_of(st.floats(0, 0.999999), st.fractions(0, Fraction(59, 60), max_denominator=60).map(float))


@given(st.integers(1, 400), PHASES, st.data())
def test_uniform_in_phases_is_the_formula(n, phase, data):
    left = data.draw(st.integers(0, n))
    exact = Fraction(phase).limit_denominator(10**6)
    expected = [floor((i + exact) * n / left) for i in range(left)]
    assert kept(Uniform(Schedule({2: left}), phase), candidates(n, left)) == expected


def test_phases_refer_to_the_candidates_that_are_left():
    """Layer 1 keeps every second of 16, from the first on; layer 3 every fourth of these, from the second on."""
    data, schedule = batch("llama", ["t" + "v" * 16 + "t"]), Schedule({1: 8, 3: 2})
    (found,) = run(Uniform(schedule, phase=0.25), data, toy("llama"))
    assert found == {1: [1, 3, 5, 7, 9, 11, 13, 15], 3: [3, 11]}


@pytest.mark.parametrize("phase", [1.0, 0.9999999, -0.1, float("nan"), True, "0.5"], ids=repr)
def test_what_is_no_phase_is_refused(phase, without_type_checker):
    with pytest.raises(ValueError, match="phase must be .*; got"):
        Uniform(Schedule({1: 3}), phase)


def outcomes(n, k):
    """Every outcome of the draws with its probability, by a tree in fractions that knows the definition alone."""
    tree = [(Fraction(1), [Fraction(k, n)] * n, 0)]
    for place in range(1, n):
        grown = []
        for chance, at, first in tree:
            p, q = at[first], at[place]
            if p + q == 0:
                grown.append((chance, at, place))
                continue
            one, won, lost = (p / (p + q), p + q, 0) if p + q < 1 else ((1 - q) / (2 - p - q or 1), 1, p + q - 1)
            for winner, loser, share in ((first, place, one), (place, first, 1 - one)):
                after = list(at)
                after[winner], after[loser] = won, lost
                grown.append((chance * share, after, loser if won == 1 else winner))
        tree = [each for each in grown if each[0]]
    return tree


@pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 1), (4, 2), (5, 2), (5, 3), (7, 3), (8, 5), (6, 4), (6, 6), (7, 1)])
def test_the_design_includes_every_token_equally_often_and_spreads(n, k):
    tree = outcomes(n, k)
    assert sum(chance for chance, _, _ in tree) == 1
    for token in range(n):
        assert sum(chance * at[token] for chance, at, _ in tree) == Fraction(k, n)
    for _, at, _ in tree:
        assert set(at) <= {0, 1} and sum(at) == k


@pytest.mark.parametrize(("n", "k"), [(5, 2), (7, 3), (8, 5), (6, 4), (12, 3)])
def test_the_draws_follow_the_design(n, k):
    expected, n_draws = {}, 4000
    for chance, at, _ in outcomes(n, k):
        stay = tuple(i for i, share in enumerate(at) if share)
        expected[stay] = expected.get(stay, 0) + float(chance)
    torch.manual_seed(n)
    found = [tuple(ordered_pivotal(numbers, k)) for numbers in torch.rand(n_draws, n).tolist()]
    assert set(found) <= set(expected)
    for stay, p in expected.items():
        assert abs(found.count(stay) - p * n_draws) < 4.5 * (n_draws * p * (1 - p)) ** 0.5 + 1e-9, stay


@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.data())
def test_of_any_first_tokens_the_right_number_stays(n, seed, data):
    k = data.draw(st.integers(0, n))
    found = kept(Stratified(Schedule({2: k}), seed), candidates(n, k))
    assert len(found) == k
    for j in range(n + 1):
        assert floor(Fraction(j * k, n)) <= sum(i < j for i in found) <= ceil(Fraction(j * k, n))


def test_stratified_keeps_every_token_equally_often_in_a_run():
    counts = torch.zeros(10)
    for seed in range(600):
        counts[kept(Stratified(Schedule({2: 4}), seed), candidates(10, 4))] += 1
    assert counts.sum() == 2400 and (counts - 240).abs().max() < 4 * (600 * 0.4 * 0.6) ** 0.5
