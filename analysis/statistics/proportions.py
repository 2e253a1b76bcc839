"""Shares of independent units: intervals of their mean and of the ratio of two means, never a single point."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta, norm
from scipy.stats import t as student

from analysis.statistics.studentised import Values, confidence_level, row_of_numbers, varies


def proportion_interval(shares: Values, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson 1934), or of the mean of shares in [0, 1].

    A unit is right or wrong (1 or 0), or has a share: of its draws that are right, of its tokens that are kept. Shares
    that differ less from unit to unit than truths would say as much as more units; the interval is the exact one for so
    many (Korn and Graubard 1998, Survey Methodology 24, eq. 2), at least the units there are. With several draws of
    each unit it holds both variances: of the units and of the draws.

    Args:
        shares: A number in [0, 1] or a bool for each unit.
        level: The confidence level, in (0, 1).

    Returns:
        The lower and the upper end; NaN for a single unit.

    Raises:
        ValueError: There is no unit, a number is not in [0, 1], or `level` is out of range.

    >>> low, high = proportion_interval([True] * 60)  # low: .025 ** (1 / 60)
    >>> round(low, 3), high
    (0.94, 1.0)
    """
    level, numbers = confidence_level(level), _checked_shares(shares)
    if len(numbers) == 1:
        return np.nan, np.nan
    tail, units = (1 - level) / 2, _effective_units(numbers, level)
    right = numbers.mean() * units
    wrong = units - right
    low = 0.0 if right < 1e-9 else beta.ppf(tail, right, wrong + 1)  # sums of shares are off by rounding errors
    high = 1.0 if wrong < 1e-9 else beta.ppf(1 - tail, right + 1, wrong)
    return float(low), float(high)


def ratio_interval(above: Values, below: Values) -> tuple[float, float]:
    """95 % interval of the ratio of two mean shares of the same units, from the intervals of both (MOVER).

    Donner and Zou (2012, Statistical Methods in Medical Research 21), with the correlation of the two shares over
    units. The intervals of `proportion_interval` are skewed as those of small shares are, so it holds where the first
    share, or the second, is 0 in most units.

    Args:
        above: The share in the numerator, for each unit.
        below: The share in the denominator, for each unit.

    Returns:
        The lower and the upper end, infinite where the second share may be 0; NaN for a single unit.

    Raises:
        ValueError: There is no unit, a number is not in [0, 1], or there are more shares of one kind.

    >>> low, high = ratio_interval([1.0, 0.0] * 30, [0.0, 1.0] * 30)
    >>> bool(abs(low * high - 1) < 1e-9)  # of the same share twice: the interval of the inverse is the inverse
    True
    """
    first, second = _checked_shares(above), _checked_shares(below)
    if len(first) != len(second):
        raise ValueError(f"every unit must have both shares; got {len(first)} and {len(second)}.")
    if len(first) == 1:
        return np.nan, np.nan
    (a, low_a, high_a), (b, low_b, high_b) = ((x.mean(), *proportion_interval(x)) for x in (first, second))
    r = np.corrcoef(first, second)[0, 1] if varies(first) and varies(second) else 0.0
    low = _mover_end(a, low_a, b, high_b, r, -1)
    high = np.inf if low_b == 0 else _mover_end(a, high_a, b, low_b, r, 1)
    return max(0.0, low), high


def _mover_end(a: float, end_a: float, b: float, end_b: float, r: float, side: int) -> float:
    """Where the square of (a - ratio b)'s distance from 0 is that of its end: the root of a quadratic equation."""
    middle = a * b - r * (a - end_a) * (end_b - b)
    quadratic, constant = end_b * (2 * b - end_b), end_a * (2 * a - end_a)
    root = np.sqrt(max(0.0, middle**2 - quadratic * constant))
    if side > 0:
        return float((middle + root) / quadratic) if quadratic > 0 else np.inf
    return float(constant / (middle + root)) if middle + root > 0 else 0.0  # the smaller root, without a division by 0


def _effective_units(numbers: np.ndarray, level: float) -> float:
    """The number of truths whose mean would vary as that of the shares does, for so many degrees of freedom."""
    n, mean = len(numbers), numbers.mean()
    if not varies(numbers):
        return float(n)
    upper = (1 + level) / 2
    for_few = (norm.ppf(upper) / student.ppf(upper, n - 1)) ** 2
    return max(float(n), mean * (1 - mean) / numbers.var(ddof=1) * n * for_few)


def _checked_shares(shares: Values) -> np.ndarray:
    numbers = row_of_numbers(shares)
    if numbers.min() < 0 or numbers.max() > 1:
        raise ValueError(f"shares must lie in [0, 1]; got {numbers.min():g} to {numbers.max():g}.")
    return numbers
