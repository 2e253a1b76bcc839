"""Rankings of the same tokens by several criteria: which tokens are kept, and how far two rankings agree.

A ranking goes from the highest score down, and among equal scores from the first token on, as in dropping. Several
criteria are compared at once: scores are [criteria, tokens], results [criteria, criteria].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analysis.statistics.lists import numbers
from v2drop.budgets.counting import share_of

RATIOS = (1 / 2, 1 / 3, 1 / 9)  # 288, 192 and 64 of 576 tokens
CriteriaScores = Float[np.ndarray, "criteria tokens"]
Pairs = Float[np.ndarray, "criteria criteria"]


def n_kept(ratio: float, n_tokens: int) -> int:
    """The number of tokens that a ratio keeps: rounded as in a schedule, at least one.

    >>> n_kept(1 / 3, 144), n_kept(0.001, 144), n_kept(1.0, 144)
    (48, 1, 144)
    """
    return max(1, share_of(ratio, n_tokens))


def checked_ratios(ratios: Sequence[float] | float) -> tuple[float | int, ...]:
    """Ratios in (0, 1] that have different names to two digits.

    Raises:
        ValueError: They are none.
    """
    ratios = numbers("ratios", ratios, at_least=0)
    if not all(0 < ratio <= 1 for ratio in ratios) or len({f"{ratio:.2f}" for ratio in ratios}) < len(ratios):
        raise ValueError(f"ratios must lie in (0, 1] and differ in their first two digits; got {ratios}.")
    return ratios


def ranks(scores: CriteriaScores) -> Int[np.ndarray, "criteria tokens"]:
    """The rank of each token, from 0 for the token that is kept longest.

    >>> ranks(np.array([[0.5, 2.0, 2.0]]))
    array([[2, 0, 1]])
    """
    return np.argsort(np.argsort(-scores, axis=-1, kind="stable"), axis=-1)


def correlation(scores: CriteriaScores, method: str) -> Pairs:
    """Rank correlation, "spearman" or "kendall" (tau-b); 0 with a criterion that scores all tokens alike."""
    values = pd.DataFrame(scores.T).corr(method=method).fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(values, 1.0)
    return values


def overlap(scores: CriteriaScores, kept: int) -> Pairs:
    """The share of the kept tokens that two criteria have in common; kept / tokens by chance.

    >>> overlap(np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 0.0, 1.0, 2.0]]), 2)[0, 1]
    np.float64(0.5)
    """
    chosen = (ranks(scores) < kept).astype(float)
    return chosen @ chosen.T / kept


def rank_biased_overlap(scores: CriteriaScores, persistence: float = 0.95) -> Pairs:
    r"""Rank-biased overlap (Webber, Moffat, Zobel 2010, eq. 4), :math:`(1 - p) \sum_d p^{d-1} A_d`, in [0, 1].

    :math:`A_d` is the overlap of the d highest ranks. Beyond the last token both sets hold all tokens, and it stays 1.
    The first :math:`1 / (1 - p)` ranks carry most of the weight: 20 of 144 tokens at the default.

    >>> rank_biased_overlap(np.array([[1.0, 0.0], [0.0, 1.0]]), 0.5)[0, 1]
    np.float64(0.5)
    """
    rank, n = ranks(scores), scores.shape[-1]
    among = (rank[None] < np.arange(1, n + 1)[:, None, None]).astype(float)
    agreement = np.einsum("dat,dbt->dab", among, among) / np.arange(1, n + 1)[:, None, None]
    return np.tensordot(rank_biased_weights(n, persistence), agreement, 1)


def rank_biased_weights(n_tokens: int, persistence: float) -> Float[np.ndarray, " tokens"]:
    """The weight of the overlap of the first d ranks, d from 1; the last weight stands for all later ones.

    >>> rank_biased_weights(3, 0.5)
    array([0.5 , 0.25, 0.25])
    """
    weights = (1 - persistence) * persistence ** np.arange(n_tokens)
    weights[-1] = persistence ** (n_tokens - 1)
    return weights
