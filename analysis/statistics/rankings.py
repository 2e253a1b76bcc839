"""Two ways to rank the same tokens: who is kept, and how far the rankings agree.

A ranking goes from the highest score down, ties to the earlier token, as dropping does it (`v2drop.candidates.top`).
Several criteria are compared at once: scores are [criteria, tokens], results [criteria, criteria].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from v2drop.schedule import share_of

RATIOS = (1 / 2, 1 / 3, 1 / 9)  # 288, 192 and 64 of 576 tokens
CriteriaScores = Float[np.ndarray, "criteria tokens"]
Pairs = Float[np.ndarray, "criteria criteria"]


def n_kept(ratio: float, n_tokens: int) -> int:
    """Tokens that a ratio keeps, rounded as a schedule rounds, but at least one.

    >>> n_kept(1 / 3, 144), n_kept(0.001, 144), n_kept(1.0, 144)
    (48, 1, 144)
    """
    return max(1, share_of(ratio, n_tokens))


def check_ratios(ratios: Sequence[float]) -> None:
    """Refuse ratios that keep nothing or more than all, or that have the same name to two digits.

    Raises:
        ValueError: that.
    """
    if not all(0 < ratio <= 1 for ratio in ratios) or len({f"{ratio:.2f}" for ratio in ratios}) < len(ratios):
        raise ValueError(f"ratios must lie in (0, 1] and differ in their first two digits; got {tuple(ratios)}.")


def ranks(scores: CriteriaScores) -> Int[np.ndarray, "criteria tokens"]:
    """The place of each token in the ranking, 0 is kept longest.

    >>> places(np.array([[0.5, 2.0, 2.0]]))
    array([[2, 0, 1]])
    """
    return np.argsort(np.argsort(-scores, axis=-1, kind="stable"), axis=-1)


def correlation(scores: CriteriaScores, method: str) -> Pairs:
    """Rank correlation, "spearman" or "kendall" (tau-b); 0 with a criterion that says the same of every token."""
    found = pd.DataFrame(scores.T).corr(method=method).fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(found, 1.0)
    return found


def overlap(scores: CriteriaScores, kept: int) -> Pairs:
    """Share of the kept tokens that two criteria have in common; kept / tokens by chance.

    >>> overlap(np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 0.0, 1.0, 2.0]]), 2)[0, 1]
    np.float64(0.5)
    """
    chosen = (ranks(scores) < kept).astype(float)
    return chosen @ chosen.T / kept


def rank_biased_overlap(scores: CriteriaScores, persistence: float = 0.95) -> Pairs:
    r"""Rank-biased overlap (Webber, Moffat, Zobel 2010, eq. 4), :math:`(1 - p) \sum_d p^{d-1} A_d`, in [0, 1].

    :math:`A_d` is the overlap of the d best. Behind the last token, where both hold the same, it stays 1. The first
    :math:`1 / (1 - p)` places carry most of the weight: 20 of 144 tokens at the default.

    >>> rank_biased_overlap(np.array([[1.0, 0.0], [0.0, 1.0]]), 0.5)[0, 1]
    np.float64(0.5)
    """
    place, n = ranks(scores), scores.shape[-1]
    among = (place[None] < np.arange(1, n + 1)[:, None, None]).astype(float)
    agreement = np.einsum("dat,dbt->dab", among, among) / np.arange(1, n + 1)[:, None, None]
    return np.tensordot(rank_biased_weights(n, persistence), agreement, 1)


def rank_biased_weights(n_tokens: int, persistence: float) -> Float[np.ndarray, " tokens"]:
    """What the overlap of the first d places counts for, d from 1; the last one stands for all that follow.

    >>> rank_biased_weights(3, 0.5)
    array([0.5 , 0.25, 0.25])
    """
    weights = (1 - persistence) * persistence ** np.arange(n_tokens)
    weights[-1] = persistence ** (n_tokens - 1)
    return weights
