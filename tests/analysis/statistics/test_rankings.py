"""Rankings and what they have in common, against plain loops and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, spearmanr

from analysis.statistics.rankings import correlation, n_kept, overlap, rank_biased_overlap, rank_biased_weights, ranks
from v2drop.scoring.selection import top_mask

# two to four criteria over two to nine tokens, whole numbers, so that there are ties
tied = st.tuples(st.integers(2, 4), st.integers(2, 9)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(-2, 2).map(float))
)


def order(row):
    return sorted(range(len(row)), key=lambda token: (-row[token], token))


def rbo_of(first, second, p, depths=2000):
    """The definition, summed far beyond the last token."""
    total = 0.0
    for d in range(1, depths + 1):
        common = len(set(first[:d]) & set(second[:d])) / d if d <= len(first) else 1.0
        total += (1 - p) * p ** (d - 1) * common
    return total


def distinct(criteria=2, tokens=12, seed=0):
    return np.random.default_rng(seed).random((criteria, tokens))


@given(tied)
def test_places_are_those_of_a_sorted_list(scores):
    for row, place in zip(scores, ranks(scores), strict=True):
        assert [order(row).index(token) for token in range(len(row))] == place.tolist()


@given(tied, st.integers(1, 9))
def test_ties_go_to_the_earlier_token_as_in_dropping(scores, kept):
    score = torch.tensor(scores)
    dropped = top_mask(score, torch.ones_like(score, dtype=torch.bool), [kept] * len(scores))
    assert np.array_equal(ranks(scores) < kept, dropped.numpy())


@given(tied)
def test_correlations_are_scipys_and_0_where_a_criterion_is_constant(scores):
    for method, reference in (("spearman", spearmanr), ("kendall", kendalltau)):
        found = correlation(scores, method)
        for i, first in enumerate(scores):
            for j, second in enumerate(scores[:i]):
                flat = np.ptp(first) == 0 or np.ptp(second) == 0
                expected = 0.0 if flat else reference(first, second).statistic
                assert found[i, j] == pytest.approx(expected, abs=1e-12)


@given(tied, st.integers(1, 9))
def test_overlap_is_that_of_sets(scores, kept):
    kept = min(kept, scores.shape[1])
    found = overlap(scores, kept)
    for i, first in enumerate(scores):
        for j, second in enumerate(scores):
            common = set(order(first)[:kept]) & set(order(second)[:kept])
            assert found[i, j] == pytest.approx(len(common) / kept)


@given(tied, st.sampled_from([0.1, 0.5, 0.9, 0.95]))
def test_rank_biased_overlap_is_its_definition(scores, persistence):
    found = rank_biased_overlap(scores, persistence)
    for i, first in enumerate(scores):
        for j, second in enumerate(scores):
            assert found[i, j] == pytest.approx(rbo_of(order(first), order(second), persistence))


@given(tied)
def test_results_are_symmetric_and_within_their_bounds(scores):
    for found in (correlation(scores, "spearman"), correlation(scores, "kendall"), rank_biased_overlap(scores)):
        assert np.allclose(found, found.T) and np.abs(found).max() <= 1 + 1e-12


def test_the_same_ranking_agrees_fully_and_the_reverse_not_at_all():
    row = distinct()[0]
    scores = np.stack([row, np.exp(3 * row), -row])  # the second is another scale of the same ranking
    for method in ("spearman", "kendall"):
        assert np.allclose(correlation(scores, method), [[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    assert overlap(scores, 6)[0].tolist() == [1, 1, 0]  # no token is in the upper half of both
    assert overlap(scores, 9)[0].tolist() == [1, 1, pytest.approx(6 / 9)]  # each leaves out three
    assert overlap(scores, 12)[0].tolist() == [1, 1, 1]
    assert rank_biased_overlap(scores)[0, :2] == pytest.approx([1, 1])
    assert rank_biased_overlap(scores)[0, 2] < rank_biased_weights(12, 0.95) @ np.arange(1, 13) / 12  # less than chance


def test_values_worked_out_by_hand():
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [3.0, 4.0, 1.0, 2.0]])  # two neighbours exchanged, twice
    assert correlation(scores, "spearman")[0, 1] == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert correlation(scores, "kendall")[0, 1] == pytest.approx((4 - 2) / 6)
    assert [overlap(scores, kept)[0, 1] for kept in (1, 2, 3, 4)] == pytest.approx([0, 1, 2 / 3, 1])
    assert rank_biased_overlap(scores, 0.5)[0, 1] == pytest.approx(0.25 * 1 + 0.125 * 2 / 3 + 0.125)


def test_tau_b_counts_ties_by_hand():
    """Pairs of tokens: four in the same order, none in the other, one tied in each."""
    scores = np.array([[1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 3.0]])
    assert correlation(scores, "kendall")[0, 1] == pytest.approx(4 / np.sqrt(5 * 5))


def test_constant_scores_correlate_with_nothing_and_keep_the_first():
    scores = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    for method in ("spearman", "kendall"):
        found = correlation(scores, method)
        assert found[0, 1] == found[1, 0] == 0 and found[1, 1] == 1
    assert ranks(scores)[0].tolist() == [0, 1, 2, 3]
    assert overlap(scores, 2)[0, 1] == 0


def test_all_tokens_kept_are_the_same_and_one_token_is_its_own_ranking():
    assert (overlap(distinct(3), 12) == 1).all()
    one = np.array([[1.0], [2.0]])
    assert ranks(one).tolist() == [[0], [0]] and (overlap(one, 1) == 1).all()
    assert rank_biased_overlap(one) == pytest.approx(np.ones((2, 2)))


@pytest.mark.parametrize("persistence", [0.01, 0.5, 0.95, 0.999])
def test_the_weights_of_all_depths_add_up_to_1(persistence):
    for n in (1, 2, 50):
        weights = rank_biased_weights(n, persistence)
        assert weights.sum() == pytest.approx(1) and (weights > 0).all()


def test_most_of_the_weight_lies_on_the_first_places():
    assert rank_biased_weights(144, 0.95)[:20].sum() == pytest.approx(1 - 0.95**20)
    scores = np.arange(144.0, 0, -1)
    late, early = scores.copy(), scores.copy()
    late[100:] = late[100:][::-1]
    early[:44] = early[:44][::-1]
    found = rank_biased_overlap(np.stack([scores, late, early]))
    assert found[0, 1] > 0.99 and found[0, 2] < 0.5


def test_so_many_tokens_are_kept():
    assert [n_kept(r, 576) for r in (1 / 2, 1 / 3, 1 / 9)] == [288, 192, 64]
    assert n_kept(1e-9, 576) == 1 and n_kept(1.0, 576) == 576 and n_kept(1.0, 1) == n_kept(0.1, 1) == 1
    assert n_kept(0.29, 100) == 29 and n_kept(0.66, 10) == 6  # rounded down, as a schedule does
