"""Reliability from halves and correction for attenuation, on numbers whose true correlation is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analysis.statistics.reliability import corrected_mean, rank_correlation, spearman_brown

SEEDS = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=12))
def test_rank_correlation_is_scipys_with_any_ties(pairs):
    first, second = np.array(pairs, dtype=float).T
    alike = np.ptp(first) == 0 or np.ptp(second) == 0
    expected = 0.0 if alike else spearmanr(first, second).statistic
    assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-12)


def test_a_correlation_that_does_not_exist_is_nan():
    assert np.isnan(rank_correlation(np.array([1.0]), np.array([2.0])))
    assert np.isnan(rank_correlation(np.array([1.0, np.nan]), np.array([2.0, 3.0])))


@given(st.floats(0.01, 1))
def test_spearman_brown_undoes_halving(reliability):
    """Noise of variance 1 / r - 1 in the whole is twice that in a half."""
    assert spearman_brown(1 / (1 + 2 * (1 / reliability - 1))) == pytest.approx(reliability)


def test_halves_that_disagree_have_no_reliability():
    assert spearman_brown(0.0) == 0 and spearman_brown(-0.5) == -2 and np.isnan(spearman_brown(-1.0))


def measured(rng, truth, noise):
    """Two halves of a measurement, each with noise of a variance twice that of the whole."""
    halves = truth + noise * np.sqrt(2) * rng.normal(size=(2, len(truth)))
    return halves.mean(0), *halves


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_correction_gives_back_the_correlation_without_noise(noise):
    rng, raw, halves = np.random.default_rng(0), [], []
    for _ in range(60):
        truth, own = rng.normal(size=(2, 400))
        criterion = 0.6 * truth + 0.8 * own  # correlation .6; its Spearman is 6 / pi * asin(.3) = .582
        whole, first, second = measured(rng, truth, noise)
        raw.append(rank_correlation(criterion, whole))
        halves.append(rank_correlation(first, second))
    mean, low, high = corrected_mean(np.array(raw), np.array(halves))
    assert np.mean(raw) < 0.55 and mean == pytest.approx(0.582, abs=0.03) and low < 0.59 and high > 0.57
    assert high - low < 0.1


def test_without_noise_nothing_is_corrected():
    raw = np.array([0.1, 0.3, 0.2])
    mean, low, high = corrected_mean(raw, np.ones(3))
    assert mean == pytest.approx(0.2) and 0.1 <= low < 0.2 < high <= 0.3


def test_where_nothing_is_measured_there_is_no_correction():
    assert np.isnan(corrected_mean(np.array([]), np.array([]))).all()
    assert np.isnan(corrected_mean(np.array([0.1, 0.2]), np.array([-0.1, 0.05]))).all()
    mean, low, high = corrected_mean(np.array([0.3, np.nan]), np.array([1.0, 0.5]))
    assert mean == pytest.approx(0.3) and np.isnan(low) and np.isnan(high)
    mean, *ends = corrected_mean(np.array([0.3, 0.2]), np.array([0.9, -0.5]))  # some resamples have no reliability
    assert mean > 0 and np.isnan(ends).all()
