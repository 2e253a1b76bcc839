"""Estimated effects of players against full enumeration, on games whose answers are known."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.shapley import (
    antithetic_orders,
    bootstrap_effects,
    inclusion_effects,
    marginal_contributions,
    prefixes,
    random_subsets,
)
from analysis.statistics.studentised import bootstrap_interval
from tests.support.random_games import Game, every_subset

SEEDS = st.integers(0, 2**32 - 1)


def contributions(game, orders):
    subsets = prefixes(orders)
    return marginal_contributions(orders, game(subsets.reshape(-1, game.n)).reshape(subsets.shape[:2]))


@given(SEEDS, st.integers(2, 9), st.data())
def test_random_subsets_have_their_size(seed, n, data):
    size = data.draw(st.integers(0, n))
    kept = random_subsets(n, size, 7, np.random.default_rng(seed))
    assert kept.shape == (7, n) and (kept.sum(1) == size).all()


def test_every_subset_is_drawn_as_often():
    kept = random_subsets(5, 2, 20000, np.random.default_rng(0))
    counts = (kept @ 2 ** np.arange(5)).tolist()
    counts = np.unique(counts, return_counts=True)[1]
    assert len(counts) == 10 and ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-squared with 9 freedoms, p = .001


@given(SEEDS, st.integers(2, 7), st.data())
def test_on_all_subsets_of_a_size_the_estimate_is_the_inclusion_effect_of_any_game(seed, n, data):
    size = data.draw(st.integers(1, n - 1))
    game, kept = Game(n, seed), every_subset(n, size)
    np.testing.assert_allclose(inclusion_effects(kept, game(kept)), game.inclusion(size), atol=1e-9)


def test_estimates_are_unbiased():
    """z of the mean of many estimates, for each player."""
    game, rng = Game(7, 3), np.random.default_rng(1)
    drawn = [random_subsets(7, 3, 40, rng) for _ in range(800)]
    found = np.array([inclusion_effects(kept, game(kept)) for kept in drawn])
    assert not np.isnan(found).any()
    error = found.mean(0) - game.inclusion(3)
    assert (np.abs(error) < 4 * found.std(0) / np.sqrt(len(found)) + 0.01).all()  # ratio estimates: bias O(1 / draws)


def test_a_player_always_there_has_no_effect():
    kept = np.array([[True, True, False], [True, False, True]])
    assert np.isnan(inclusion_effects(kept, np.array([1.0, 2.0]))).tolist() == [True, False, False]


@given(SEEDS, st.integers(2, 9), st.integers(1, 4))
def test_orders_come_with_their_reverses(seed, n, pairs):
    orders = antithetic_orders(n, pairs, np.random.default_rng(seed))
    assert orders.shape == (2 * pairs, n) and (np.sort(orders, 1) == np.arange(n)).all()
    assert (orders[::2] == orders[1::2, ::-1]).all()


@given(SEEDS, st.integers(2, 6))
def test_prefixes_grow_by_the_order(seed, n):
    orders = antithetic_orders(n, 2, np.random.default_rng(seed))
    for order, subsets in zip(orders, prefixes(orders), strict=True):
        assert [set(np.flatnonzero(row)) for row in subsets] == [set(order[:size]) for size in range(n + 1)]


@pytest.mark.parametrize("n", [6, 7])
def test_over_all_orders_the_mean_contribution_is_the_shapley_value(n):
    game, orders = Game(n, n), np.array(list(permutations(range(n))))
    np.testing.assert_allclose(contributions(game, orders).mean(0), game.shapley(), atol=1e-9)


@given(SEEDS, st.integers(2, 8))
def test_the_contributions_of_every_order_add_up(seed, n):
    game, orders = Game(n, seed), antithetic_orders(n, 2, np.random.default_rng(seed))
    total = game.of(range(n)) - game.of(())
    np.testing.assert_allclose(contributions(game, orders).sum(1), total, atol=1e-12 * 100)


@given(SEEDS, st.integers(2, 8))
def test_an_additive_game_is_given_back_by_any_order(seed, n):
    rng = np.random.default_rng(seed)
    weights, orders = rng.normal(size=n), antithetic_orders(n, 1, rng)
    np.testing.assert_allclose(marginal_contributions(orders, prefixes(orders) @ weights), [weights] * 2, atol=1e-12)


def test_shapley_estimates_are_unbiased_and_symmetric_players_alike():
    game = Game(8, 5, alike=True)
    exact = game.shapley()
    assert exact[0] == pytest.approx(exact[1])
    pairs = contributions(game, antithetic_orders(8, 3000, np.random.default_rng(2))).reshape(-1, 2, 8).mean(1)
    assert (np.abs(pairs.mean(0) - exact) < 4 * pairs.std(0) / np.sqrt(len(pairs))).all()


def test_a_game_of_pairs_needs_one_antithetic_pair():
    """v(S) = number of pairs of players in S: first to last gives 0, 1, ... n - 1, its reverse the rest."""
    orders = antithetic_orders(6, 1, np.random.default_rng(0))
    sizes = np.arange(7.0)
    added = marginal_contributions(orders, np.stack([sizes * (sizes - 1) / 2] * 2))
    np.testing.assert_allclose(added.mean(0), 2.5)


def test_intervals_of_inclusion_effects_cover_them_at_the_size_of_the_recordings():
    """640 subsets of 144 players; the game is additive, with noise, so that its effects are known."""
    rng, hits = np.random.default_rng(4), []
    weights = rng.normal(size=144)
    exact = (weights - weights.mean()) * 144 / 143
    for trial in range(20):
        kept = random_subsets(144, 48, 640, rng)
        low, high = bootstrap_effects(kept, kept @ weights + rng.normal(0, 5, 640), trial)
        hits.append((low <= exact) & (exact <= high))
    assert 0.93 <= np.mean(hits) <= 0.97  # of 2880 intervals at 95 %


@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_cover_the_mean_of_the_eight_pairs_of_orders_that_are_recorded(skewed):
    rng = np.random.default_rng(5)
    drawn = rng.lognormal(0, 0.5, (2000, 8)) if skewed else rng.normal(1, 1, (2000, 8))
    low, high = np.transpose([*map(bootstrap_interval, drawn)])
    mean = np.exp(0.125) if skewed else 1
    assert ((low <= mean) & (mean <= high)).mean() >= 0.93


def test_an_interval_is_that_of_its_seed():
    rng = np.random.default_rng(0)
    kept, values = random_subsets(4, 2, 60, rng), rng.normal(size=60)
    first, again, other = (bootstrap_effects(kept, values, seed) for seed in (1, 1, 2))
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all() and (first[0] != other[0]).any()
    found = inclusion_effects(kept, values)
    assert (first[0] < found).all() and (found < first[1]).all()
