"""The mean of independent numbers: its interval and its test, by Student's t and the studentised bootstrap.

Percentile and BCa intervals cover the mean of skewed numbers too seldom (lognormal, 12 units: 81 % and 86 %), and so
does Student's t alone (85 %). What is used covers it in 91 % at 12 units, 93 % at 24, and 93 to 95 % from 40 on; twelve
numbers of which only one in seven makes the mean do not show it (81 %). `tests/analysis/statistics/test_coverage.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import t as student

from analysis.statistics.frames import finite_numbers
from v2drop.arguments import number, seed_number

RESAMPLES = 2000
Values = Sequence[float | int] | np.ndarray | pd.Series


def bootstrap_interval(values: Values, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean: at each end the farther of Student's t and the studentised bootstrap (2000 resamples).

    The bootstrap (Efron and Tibshirani 1993, section 12.5) follows the skewness of the values, and Student's t stays
    where few values make the bootstrap's tails too short. Resamples without any spread have no studentised mean and are
    left out.

    Args:
        values: Numbers from independent units.
        seed: The seed of the resamples.
        level: The confidence level, in (0, 1).

    Returns:
        The lower and the upper end; NaN for a single value and for values that are all equal, which do not say how much
        others would differ.

    Raises:
        ValueError: There is no value, one is NaN or infinite, or an argument is out of range.
    """
    seed, level, numbers = seed_number(seed), confidence_level(level), row_of_numbers(values)
    if not varies(numbers):
        return np.nan, np.nan
    tail, error = (1 - level) / 2, standard_error(numbers)
    farthest = student.ppf(1 - tail, len(numbers) - 1)
    lower, upper = np.quantile(_studentised_means(numbers, seed), [tail, 1 - tail])
    mean = numbers.mean()
    return float(mean - max(upper, farthest) * error), float(mean - min(lower, -farthest) * error)


def mean_test(values: Values, seed: int = 0) -> float:
    """Two-sided p of a mean of zero, the larger of Student's t and the studentised bootstrap: that of the interval.

    Values that are all equal have no spread to be compared with; their p is that of the sign test, 1 if they are 0.

    >>> mean_test([0.0, 0.0, 0.0]), mean_test([2.0, 2.0, 2.0])
    (1.0, 0.25)
    """
    numbers = row_of_numbers(values)
    if not varies(numbers):
        return min(1.0, 2 * 0.5 ** int(np.count_nonzero(numbers)))
    observed = numbers.mean() / standard_error(numbers)
    drawn = _studentised_means(numbers, seed_number(seed))
    as_far = np.count_nonzero(drawn >= observed if observed > 0 else drawn <= observed)
    by_bootstrap = min(1.0, 2 * (1 + as_far) / (1 + len(drawn)))
    return float(max(by_bootstrap, 2 * student.sf(abs(observed), len(numbers) - 1)))


def varies(numbers: np.ndarray) -> bool:
    """Whether numbers differ by more than rounding errors."""
    return bool(np.ptp(numbers) > 1e-12 * np.abs(numbers).max())


def standard_error(numbers: np.ndarray) -> float:
    """The standard error of the mean of two numbers or more.

    >>> standard_error(np.array([1.0, 3.0]))
    1.0
    """
    return float(numbers.std(ddof=1) / np.sqrt(len(numbers)))


def confidence_level(level: float) -> float:
    """The level that an argument is.

    Raises:
        ValueError: It is no number between 0 and 1, which both have no interval.
    """
    if not 0 < number("level", level, 0, 1) < 1:
        raise ValueError(f"level must lie in (0, 1); got {level}.")
    return float(level)


def row_of_numbers(values: Values) -> np.ndarray:
    """Values as an array of floats [units].

    Raises:
        ValueError: There is none, they are no row, or one is NaN or infinite.
    """
    if np.ndim(values) != 1 or len(values) == 0:
        raise ValueError(f"values must be numbers, at least one, in a row; got the shape {np.shape(values)}.")
    return finite_numbers(pd.Series(values), "values").to_numpy(dtype=float)


def _studentised_means(numbers: np.ndarray, seed: int) -> np.ndarray:
    """(Mean of a resample - mean) / standard error in the resample, for every resample with any spread."""
    n, centred = len(numbers), numbers - numbers.mean()
    centred = centred / np.abs(centred).max()  # neither squares nor their differences get lost
    counts = _counts(n, seed)
    means = counts @ centred / n
    variances = (counts @ centred**2 / n - means**2) / (n - 1)
    spread = variances > 1e-12 * standard_error(centred) ** 2  # the others are rounding errors of equal numbers
    return means[spread] / np.sqrt(variances[spread])


@lru_cache(maxsize=4)
def _counts(n: int, seed: int) -> np.ndarray:
    """How often each resample draws each unit: float [resamples, n], the same for all samples of one size."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
