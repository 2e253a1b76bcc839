"""How far noise in a measured quantity hides what it correlates with: half-splits, and correction for attenuation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

RESAMPLES = 2000
PerUnit = Float[np.ndarray, " unit"]


def rank_correlation(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Spearman's correlation; 0 with numbers that are all alike, NaN for fewer than two or where one is NaN.

    >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([0.0, 9.0, 5.0])), 9)
    0.5
    """
    if len(first) < 2 or np.isnan(first).any() or np.isnan(second).any():
        return np.nan
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def spearman_brown(halves: float) -> float:
    """The reliability of a whole, from the correlation of its two halves: 2 r / (1 + r) (Spearman, Brown 1910).

    >>> spearman_brown(0.5)
    0.6666666666666666
    """
    return float(2 * halves / (1 + halves)) if halves > -1 else np.nan


def corrected_mean(correlations: PerUnit, halves: PerUnit) -> tuple[float, float, float]:
    r"""The mean correlation with a noisy quantity, corrected for attenuation: divided by the root of its reliability.

    Spearman (1904) for the means over units, :math:`\bar r / \sqrt{2 \bar h / (1 + \bar h)}`: the reliability of a
    single unit is itself noisy, and its root does not exist where it falls below 0. The other quantity has no noise.

    Args:
        correlations: The correlation with the measured quantity, in each independent unit.
        halves: The correlation of two halves of the measurement, in each unit.

    Returns:
        Three values: the corrected mean, which may exceed 1, and the ends of its 95 % percentile bootstrap interval
        over units. NaN where the mean reliability is not above 0, and as ends for a single unit or where a resample has
        no such reliability.

    >>> corrected_mean(np.array([0.4]), np.array([0.0]))
    (nan, nan, nan)
    >>> round(corrected_mean(np.array([0.4]), np.array([0.47058823529]))[0], 6)  # .4 / sqrt(.64)
    0.5
    """
    there = ~(np.isnan(correlations) | np.isnan(halves))
    pair = correlations[there], halves[there]
    mean = float(_corrected(*pair)) if there.any() else np.nan
    if np.isnan(mean) or there.sum() < 2:
        return mean, np.nan, np.nan
    chosen = np.random.default_rng(0).integers(len(pair[0]), size=(RESAMPLES, len(pair[0])))
    low, high = np.percentile(_corrected(*(values[chosen] for values in pair)), [2.5, 97.5])
    return mean, float(low), float(high)


def _corrected(correlations: np.ndarray, halves: np.ndarray) -> np.ndarray | np.floating:
    half = halves.mean(-1)
    half = np.where(half > 0, half, np.nan)  # without it there is no reliability whose root could be taken
    return correlations.mean(-1) / np.sqrt(2 * half / (1 + half))
