"""Three distances of a retention curve from a flat one, and intervals of what is computed from a mean curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import t as student

from analysis.position.binning import Rates
from analysis.statistics.studentised import varies

Draws = np.ndarray | np.floating  # one number per curve


def kolmogorov_smirnov(rates: Rates) -> Draws:
    """The largest distance of the kept tokens' distribution function from the uniform one, at the edges of the bins.

    >>> kolmogorov_smirnov(np.array([0.0, 0.0, 0.5, 0.5]))
    np.float64(0.5)
    """
    share = _normalised(rates)
    even = np.arange(1, share.shape[-1] + 1) / share.shape[-1]
    return np.abs(share.cumsum(-1) - even).max(-1)


def total_variation(rates: Rates) -> Draws:
    """The share of the kept tokens that would have to be in another bin.

    >>> total_variation(np.array([0.0, 0.5, 0.5, 0.0]))
    np.float64(0.5)
    """
    share = _normalised(rates)
    return np.abs(share - 1 / share.shape[-1]).sum(-1) / 2


def gini(rates: Rates) -> Draws:
    """The Gini coefficient of the bins' retention: mean difference of two bins / twice the mean, 0 to 1 - 1 / bins.

    >>> gini(np.array([0.0, 0.0, 0.0, 1.0]))
    np.float64(0.75)
    """
    share = _normalised(rates)
    apart = np.abs(share[..., :, None] - share[..., None, :])
    return apart.sum((-2, -1)) / (2 * share.shape[-1])


DISTANCES: dict[str, Callable] = {"ks": kolmogorov_smirnov, "tv": total_variation, "gini": gini}


def without_one_sample(distance: Callable, rates: Rates) -> np.ndarray:
    """A distance of the mean curve without one sample each [samples]; NaN if nothing is kept without some sample."""
    means = (rates.sum(0) - rates) / max(1, len(rates) - 1)
    return distance(means) if (means.sum(-1) > 1e-12).all() else np.full(len(rates), np.nan)


def jackknife_interval(value: float, without_one: np.ndarray) -> tuple[float, float]:
    """95 % interval of a function of a mean over samples (Tukey's jackknife with Student's t).

    It covers the function's expectation for so many samples, which for a distance is above 0 without any bias of
    position.

    Args:
        value: The function's value for all samples.
        without_one: Its values without one sample each [samples].

    Returns:
        The ends; NaN where all values are equal, as for a single sample.

    >>> low, high = jackknife_interval(1.0, np.array([0.5, 1.5]))  # of a mean: Student's t interval of 0.5 and 1.5
    >>> round(low, 3), round(high, 3)
    (-5.353, 7.353)
    """
    n = len(without_one)
    if n < 2 or not varies(without_one):
        return np.nan, np.nan
    half = student.ppf(0.975, n - 1) * np.sqrt((n - 1) * without_one.var())
    return float(value - half), float(value + half)


def _normalised(rates: Rates) -> Rates:
    total = rates.sum(-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("every curve must keep some tokens; got one that keeps nothing.")
    return rates / total
