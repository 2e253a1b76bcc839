"""Two methods on the same units: the interval of their mean difference, its test, and what could have been found."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from analysis.statistics.studentised import (
    Values,
    bootstrap_interval,
    mean_test,
    row_of_numbers,
    standard_error,
    varies,
)

Kind = Literal["truth", "share", "number"]


class PairedComparison(NamedTuple):
    """The mean of the differences of two methods, unit by unit, first minus second.

    Attributes:
        difference: The mean.
        low: The lower end of its interval; NaN where there is none.
        high: The upper end.
        error: The standard error from which the interval is made, NaN where there is none.
        p: The two-sided p of no difference.
        n: The number of units.
        better: The number of units on which the first has more.
        worse: The number of units on which the second has more.
    """

    difference: float
    low: float
    high: float
    error: float
    p: float
    n: int
    better: int
    worse: int


def compare_paired(differences: Values, kind: Kind, level: float = 0.95, seed: int = 0) -> PairedComparison:
    """The mean of paired differences with an interval and a test for their kind.

    - "truth": differences of right (1) and wrong (0). McNemar's exact test, which compares `better` with `worse`, and
      the adjusted Wald interval (Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37): that of
      the units and two more, one on which the first is better and one on which the second is.
    - "share": differences of shares in [0, 1], such as of right draws. The same interval and its own test.
    - "number": anything else. `bootstrap_interval` and `mean_test`, with no interval where all differences are equal.

    Args:
        differences: First minus second, for each unit.
        kind: The kind of the values.
        level: The confidence level of the interval, in (0, 1).
        seed: The seed of the resamples, for numbers.

    Raises:
        ValueError: There is no unit, or a difference is NaN or infinite.

    >>> found = compare_paired([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], "truth")
    >>> found.better, found.worse, found.p, round(found.low, 3), round(found.high, 3)
    (5, 0, 0.0625, 0.055, 0.779)
    """
    numbers = row_of_numbers(differences)
    better, worse = int((numbers > 0).sum()), int((numbers < 0).sum())
    if kind == "number":
        low, high = bootstrap_interval(numbers, seed, level)
        error = standard_error(numbers) if varies(numbers) else np.nan
        p = mean_test(numbers, seed)
    else:
        low, high, error, p = _adjusted(numbers, level)
        p = float(binomtest(better, better + worse).pvalue) if kind == "truth" and better + worse else p
    return PairedComparison(float(numbers.mean()), low, high, error, p, len(numbers), better, worse)


def detectable_difference(comparison: PairedComparison, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a test at a level finds with a given power at so many units and such a spread.

    (Quantile of Student's t for the level + quantile for the power) x standard error; NaN where there is no error.

    >>> found = PairedComparison(0.0, -0.1, 0.1, 0.05, 1.0, 400, 20, 20)
    >>> round(detectable_difference(found), 3)
    0.14
    """
    if np.isnan(comparison.error):
        return np.nan
    needed = student.ppf([1 - level / 2, power], comparison.n - 1).sum()
    return float(needed * comparison.error)


def _adjusted(numbers: np.ndarray, level: float) -> tuple[float, float, float, float]:
    """Ends, standard error and p of Bonett and Price, for differences in [-1, 1]; NaN but for p of a single unit."""
    more = np.append(numbers, [1.0, -1.0])
    mean, error = more.mean(), more.std() / np.sqrt(len(more))
    p = float(2 * norm.sf(abs(mean) / error))
    if len(numbers) == 1:
        return np.nan, np.nan, np.nan, p
    half = norm.ppf((1 + level) / 2) * error
    return float(max(-1, mean - half)), float(min(1, mean + half)), float(error), p
