"""All pairs at once are what scipy gives pair by pair; the part between classes and the rest make up the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, rankdata, spearmanr

from analysis.theorem.statistics.agreement import kendall, overlaps, spearman, spearman_between

few_values = st.integers(0, 4).map(float)  # many ties
tables = st.integers(2, 14).flatmap(lambda n: arrays(float, (4, n), elements=few_values))


@given(tables)
def test_correlations_are_those_of_scipy(values):
    scores, targets = values[:2], values[2:]
    for i, score in enumerate(scores):
        for j, target in enumerate(targets):
            varies = np.ptp(score) > 0 and np.ptp(target) > 0
            expected = [float(f(score, target).statistic) for f in (spearmanr, kendalltau)] if varies else [0.0, 0.0]
            found = [f(scores, targets)[i, j] for f in (spearman, kendall)]
            assert found == pytest.approx(expected, abs=1e-12)


@given(tables, st.sampled_from([0.2, 0.5, 1.0]))
def test_overlaps_are_those_of_sorted_lists(values, ratio):
    kept = max(1, round(ratio * values.shape[1]))
    highest = [set(sorted(range(values.shape[1]), key=lambda i: (-row[i], i))[:kept]) for row in values]
    expected = [[len(highest[i] & highest[j]) / kept for j in (2, 3)] for i in (0, 1)]
    if round(ratio * values.shape[1]) == ratio * values.shape[1]:  # how halves are rounded is the schedule's business
        np.testing.assert_allclose(overlaps(values[:2], values[2:], ratio), expected)


@given(tables, st.data())
def test_the_part_between_classes_is_the_correlation_of_class_means(values, data):
    """With every rank replaced by its class's mean; over the whole's standard deviations."""
    n = values.shape[1]
    labels = data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    found = spearman_between(values[:2], values[2:], labels)
    if len(set(labels)) == 1:
        assert np.isnan(found).all()
        return
    order = rankdata(values, axis=1)
    means = np.array([[row[[each == label for each in labels]].mean() for label in labels] for row in order])
    within, spread = order - means, order.std(axis=1)
    for i in (0, 1):
        for j in (2, 3):
            scale = spread[i] * spread[j]
            between = np.mean((means[i] - means[i].mean()) * (means[j] - means[j].mean())) / scale if scale else 0
            assert found[i, j - 2] == pytest.approx(between, abs=1e-12)
            rest = np.mean(within[i] * within[j]) / scale if scale else 0
            assert spearman(values[:2], values[2:])[i, j - 2] == pytest.approx(between + rest, abs=1e-12)


def test_one_token_has_no_correlation():
    assert np.isnan(spearman(np.ones((2, 1)), np.ones((3, 1)))).all()
    assert np.isnan(kendall(np.ones((2, 1)), np.ones((3, 1)))).all()
