"""How far the kept tokens are from evenly spread over the sequence, against what chance gives, never against zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control

from analysis.statistics.token_tables import tokens_per_sample

BINS = 10
Rates = Float[np.ndarray, "*draws bins"]
VisionIndices = np.ndarray | pd.Series | int
Draws = np.ndarray | np.floating  # one number for each curve


def kolmogorov_smirnov(rates: Rates) -> Draws:
    """Largest distance of the kept tokens' distribution function from the uniform one, at the edges of the bins.

    >>> kolmogorov_smirnov(np.array([0.0, 0.0, 0.5, 0.5]))
    np.float64(0.5)
    """
    share = _normalised(rates)
    even = np.arange(1, share.shape[-1] + 1) / share.shape[-1]
    return np.abs(share.cumsum(-1) - even).max(-1)


def total_variation(rates: Rates) -> Draws:
    """Share of the kept tokens that would have to lie in another bin.

    >>> total_variation(np.array([0.0, 0.5, 0.5, 0.0]))
    np.float64(0.5)
    """
    share = _normalised(rates)
    return np.abs(share - 1 / share.shape[-1]).sum(-1) / 2


def gini(rates: Rates) -> Draws:
    """Gini coefficient of the bins' retention: mean difference of two bins by twice the mean, 0 to 1 - 1 / bins.

    >>> gini(np.array([0.0, 0.0, 0.0, 1.0]))
    np.float64(0.75)
    """
    share = _normalised(rates)
    apart = np.abs(share[..., :, None] - share[..., None, :])
    return apart.sum((-2, -1)) / (2 * share.shape[-1])


DISTANCES: dict[str, Callable] = {"ks": kolmogorov_smirnov, "tv": total_variation, "gini": gini}


def distance_from_uniform(
    kept: pd.DataFrame, by: Sequence[str] = ("criterion",), bins: int = BINS, draws: int = 999, seed: int = 0
) -> pd.DataFrame:
    """DISTANCES of the retention curve (mean over samples, in bins of the sequence) from a flat one, with two nulls.

    - random dropping: every sample keeps as many tokens, drawn anew. Its mean distance is the floor that a finite
      sample has; p_random is small if the curve is less even than that. Clustered content makes it small as well.
    - shifts: every sample keeps its pattern, moved by a random number of places and wrapped around. p_shift is small
      only if patterns prefer places: the test of positional bias where the kept tokens of a picture hang together.

    Args:
        kept: of `analysis.kept_tokens_by` or `analysis.kept_at_layer`; all tokens of a sample, kept or not.
        by: columns that tell curves apart.
        bins: parts of the sequence.
        draws: of each null; corrected for many rows, no q of a single curve, three rows, can be below
            rows / (3 (draws + 1)).
        seed: of the draws, the same for every curve.

    Returns:
        One row per curve and distance: `by`, distance, value, floor, floor_high (mean and 95 % quantile under random
        dropping), p_random, p_shift ((1 + draws as far or farther) / (1 + draws)), q_random and q_shift (corrected for
        all rows, Benjamini and Hochberg).

    Raises:
        ValueError: a curve keeps nothing, there are more bins than tokens, `draws` is below 1, `kept` is not boolean,
            or a sample's tokens are not all there, once each (layers are curves of their own: name them in `by`).
    """
    if draws < 1 or kept.kept.dtype != bool:
        raise ValueError(f"draws must be at least 1 and the column kept boolean; got {draws}, {kept.kept.dtype}.")
    tokens_per_sample(kept, [*by, "sample"])
    floors: dict[tuple, Rates] = {}
    rows = []
    for key, group in kept.sort_values("rank", kind="stable").groupby(list(by), sort=False):
        patterns = [sample.to_numpy() for _, sample in group.groupby("sample").kept]
        rates = np.mean([_rates(pattern[None], bins)[0] for pattern in patterns], 0)
        counts = tuple((len(pattern), int(pattern.sum())) for pattern in patterns)
        if counts not in floors:
            floors[counts] = _at_random(counts, bins, draws, np.random.default_rng([seed, 1]))
        moved = _cyclic_shifts(patterns, bins, draws, np.random.default_rng([seed, 2]))
        for name, distance in DISTANCES.items():
            value, random = float(distance(rates)), distance(floors[counts])
            chances = (_p(value, random), _p(value, distance(moved)))
            rows.append((*key, name, value, random.mean(), np.quantile(random, 0.95), *chances))
    names = [*by, "distance", "value", "floor", "floor_high", "p_random", "p_shift"]
    frame = pd.DataFrame(rows, columns=names)
    corrected = {f"q_{null}": false_discovery_control(frame[f"p_{null}"]) for null in ("random", "shift")}
    return frame.assign(**corrected)


def _normalised(rates: Rates) -> Rates:
    total = rates.sum(-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("something must be kept for its places to be told; got a curve that keeps nothing.")
    return rates / total


def bin_index(rank: VisionIndices, n_tokens: VisionIndices, bins: int) -> VisionIndices:
    """In which of `bins` equal parts of the sequence a token lies.

    Raises:
        ValueError: there are fewer than two bins, or more than tokens.
    """
    if not 2 <= bins <= np.min(n_tokens):
        raise ValueError(f"bins must lie between 2 and the tokens of a sample, {np.min(n_tokens)}; got {bins}.")
    return rank * bins // n_tokens


def _edges(n: int, bins: int) -> np.ndarray:
    return np.searchsorted(bin_index(np.arange(n), n, bins), np.arange(bins))


def _rates(patterns: Bool[np.ndarray, "draws tokens"], bins: int) -> Rates:
    n = patterns.shape[1]
    edges = _edges(n, bins)
    return np.add.reduceat(patterns.astype(float), edges, axis=1) / np.diff([*edges, n])


def _at_random(counts: tuple[tuple[int, int], ...], bins: int, draws: int, rng: np.random.Generator) -> Rates:
    total = np.zeros((draws, bins))
    for n, kept in counts:
        sizes = np.diff([*_edges(n, bins), n])
        total += rng.multivariate_hypergeometric(sizes, kept, size=draws, method="marginals") / sizes
    return total / len(counts)


def _cyclic_shifts(patterns: Sequence[np.ndarray], bins: int, draws: int, rng: np.random.Generator) -> Rates:
    total = np.zeros((draws, bins))
    for pattern in patterns:
        n = len(pattern)
        everywhere = _rates(pattern[(np.arange(n)[None] - np.arange(n)[:, None]) % n], bins)
        total += everywhere[rng.integers(n, size=draws)]
    return total / len(patterns)


def _p(value: float, null: np.ndarray) -> float:
    return float((1 + np.sum(null >= value * (1 - 1e-9))) / (1 + len(null)))
