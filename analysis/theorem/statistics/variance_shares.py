"""Which factor carries the impacts: Shapley shares of R2 (Lindeman, Merenda and Gold 1980), per sample and layer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import factorial

import numpy as np
from jaxtyping import Float

from analysis.theorem.statistics.bound import Row
from analysis.theorem.statistics.impact_table import PREDICTED, Columns, with_values

BEYOND = "beyond_first_order"


def lmg_shares(
    predictors: Float[np.ndarray, "predictors n"], target: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " predictors"]:
    """How much each predictor adds to R2 of a linear regression, averaged over all orders in which they may enter.

    This is the decomposition LMG of Lindeman, Merenda and Gold (Introduction to Bivariate and Multivariate Analysis,
    1980, p. 119), the Shapley value of the game whose value is R2. The shares are at least 0 and add up to R2 of all
    predictors. A constant predictor has 0, and copies of one share equally.

    Returns:
        The shares; NaN where the target is constant.

    >>> x = np.array([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    >>> lmg_shares(x, 2 * x[0] + x[1]).round(3)  # uncorrelated: the squared correlations
    array([0.8, 0.2])
    """
    k = len(predictors)
    if np.ptp(target) == 0:
        return np.full(k, np.nan)
    centred = np.vstack([predictors, target]) - np.vstack([predictors, target]).mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    correlation = unit @ unit.T
    explained = {chosen: _r2(correlation, list(chosen)) for n in range(k + 1) for chosen in combinations(range(k), n)}
    shares = np.zeros(k)
    for chosen, r2 in explained.items():
        for new in set(range(k)) - set(chosen):
            weight = factorial(len(chosen)) * factorial(k - len(chosen) - 1) / factorial(k)
            shares[new] += weight * (explained[tuple(sorted((*chosen, new)))] - r2)
    return shares


def _r2(correlation: Float[np.ndarray, "all all"], chosen: list[int]) -> float:
    """R2 of the last variable on the chosen ones."""
    among, with_target = correlation[np.ix_(chosen, chosen)], correlation[chosen, -1]
    return float(with_target @ np.linalg.pinv(among, rcond=1e-10, hermitian=True) @ with_target) if chosen else 0.0


def share_rows(columns: Columns) -> Iterator[Row]:
    """Shares of log impact: log variation, log norm, log alignment, and log of the impact over its first order.

    The impact is their product, so the shares add up to 1.

    Args:
        columns: The columns of one sample and layer.

    Yields:
        Statistic, factor, target, tokens and value.
    """
    for target in with_values(columns, tuple(PREDICTED)):
        prediction, impact = PREDICTED[target], columns[target]
        first_order = np.where(columns[prediction.first_order] > 0, columns[prediction.first_order], np.nan)
        names = ("variation_l2", prediction.norm, prediction.alignment)
        factors = np.array([*(columns[name] for name in names), impact / first_order])
        usable = (np.nan_to_num(factors) > 0).all(0)
        if usable.sum() > len(factors) + 1:
            shares = lmg_shares(np.log(factors[:, usable]), np.log(impact[usable]))
            for name, share in zip((*names, BEYOND), shares, strict=True):
                yield "lmg_share", name, target, "all", float(share)
