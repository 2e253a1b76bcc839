"""The interval of a mean and its test: against loops in plain Python, each other, and values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from analysis.statistics.studentised import RESAMPLES, bootstrap_interval, mean_test

SKEWED = np.random.default_rng(0).lognormal(size=15)


def slow_studentised_means(values, seed=0):
    """Unit by unit, resample by resample."""
    n, found = len(values), []
    mean = sum(values) / n
    for counts in np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES):
        again = [v for v, times in zip(values, counts, strict=True) for _ in range(times)]
        m = sum(again) / n
        variance = sum((v - m) ** 2 for v in again) / (n - 1)
        if len(set(again)) > 1:
            found.append((m - mean) / math.sqrt(variance / n))
    return np.array(found)


def test_the_ends_are_the_farther_of_students_and_of_the_bootstraps():
    drawn, n = slow_studentised_means(SKEWED.tolist()), len(SKEWED)
    error, mean = SKEWED.std(ddof=1) / np.sqrt(n), SKEWED.mean()
    t = ttest_1samp(SKEWED, 0).confidence_interval(0.9)
    low, high = bootstrap_interval(SKEWED, level=0.9)
    assert low == pytest.approx(min(t.low, mean - np.quantile(drawn, 0.95) * error))
    assert high == pytest.approx(max(t.high, mean - np.quantile(drawn, 0.05) * error)) and high > t.high
    p = mean_test(SKEWED - 1)
    observed = (mean - 1) / error
    assert p == pytest.approx(
        max(ttest_1samp(SKEWED, 1).pvalue, 2 * (1 + np.sum(drawn >= observed)) / (1 + len(drawn)))
    )


@given(
    st.lists(st.integers(-5, 9), min_size=3, max_size=30), st.sampled_from([0.5, 1.0, 3e8, 1e-9]), st.integers(-9, 9)
)
def test_units_and_signs_do_not_matter(whole, scale, shift):
    values = np.array(whole, dtype=float)
    low, high = bootstrap_interval(values)
    if np.ptp(values) == 0:
        assert np.isnan([low, high]).all() and mean_test(values) == min(1, 2 * 0.5 ** np.count_nonzero(values))
        return
    assert low < values.mean() < high
    again = bootstrap_interval(-scale * (values + shift))
    assert again == pytest.approx((-scale * (high + shift), -scale * (low + shift)), rel=1e-6, abs=scale * 1e-6)
    assert mean_test(-scale * values) == pytest.approx(mean_test(values), abs=2 / RESAMPLES)


@given(st.lists(st.integers(-3, 9), min_size=3, max_size=40))
def test_the_test_rejects_what_the_interval_leaves_out(whole):
    """But for the steps of the quantiles, 1 / 2000."""
    values, p = np.array(whole, dtype=float), mean_test(whole)
    if np.ptp(values) > 0 and abs(p - 0.05) > 0.004:
        low, high = bootstrap_interval(values)
        assert (p < 0.05) == (not low <= 0 <= high)


@pytest.mark.parametrize("level", [0, 1, 0.0, 1.0])
def test_levels_without_an_interval_are_refused(level):
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\); got"):
        bootstrap_interval([1.0, 2.0], level=float(level))
