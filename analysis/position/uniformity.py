"""The distance of the kept tokens from an even spread over the sequence, compared with chance rather than with 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control

from analysis.statistics.frames import checked
from analysis.statistics.lists import names
from analysis.statistics.token_tables import tokens_per_sample
from v2drop.arguments import seed_number, whole_number

BINS = 10
Rates = Float[np.ndarray, "*draws bins"]
VisionIndices = np.ndarray | pd.Series | int
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


def distance_from_uniform(
    kept: pd.DataFrame, by: Sequence[str] = ("criterion",), bins: int = BINS, draws: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Three distances of a retention curve (mean over samples, in bins) from a flat one, with two null distributions.

    - Random dropping: every sample keeps the same number of tokens, drawn at random. The mean distance under it is the
      floor for samples of this size. p_random is small if the curve is less even; clustered content is enough for that.
    - Shifts: every sample keeps its pattern, shifted cyclically by a random number of positions. p_shift is small only
      if patterns prefer positions. This is the test of positional bias where the kept tokens of a picture cluster.

    Args:
        kept: The frame of `analysis.kept_tokens_by` or `analysis.kept_at_layer`: all tokens of a sample, kept or not.
        by: The columns that tell curves apart; with several layers, "layer" is one of them.
        bins: The number of parts of the sequence.
        draws: The number of draws from each null. The smallest possible p is 1 / (draws + 1); the q of one curve (three
            rows) among many rows cannot be below rows / (3 (draws + 1)).
        seed: The seed of the draws, the same for every curve.

    Returns:
        One row per curve and distance: `by`, distance (a key of DISTANCES), value, floor, floor_high (mean and 95 %
        quantile under random dropping), p_random, p_shift ((1 + draws as far or farther) / (1 + draws)), q_random and
        q_shift (p corrected for all rows, Benjamini and Hochberg).

    Raises:
        ValueError: A curve keeps nothing, there are more bins than tokens, an argument is out of range, the column kept
            does not hold True and False, or the tokens of a sample are not all there once.
    """
    by, draws, seed = names("by", by), whole_number("draws", draws, 1), seed_number(seed)
    kept = checked_kept(kept, by)
    tokens_per_sample(kept, [*by, "sample"])
    floors: dict[tuple, Rates] = {}
    rows = []
    for key, group in kept.sort_values("vision_index", kind="stable").groupby(list(by), sort=False):
        patterns = [sample.to_numpy() for _, sample in group.groupby("sample").kept]
        rates = np.mean([_rates(pattern[None], bins)[0] for pattern in patterns], 0)
        counts = tuple((len(pattern), int(pattern.sum())) for pattern in patterns)
        if counts not in floors:
            floors[counts] = _at_random(counts, bins, draws, np.random.default_rng([seed, 1]))
        shifted = _cyclic_shifts(patterns, bins, draws, np.random.default_rng([seed, 2]))
        for name, distance in DISTANCES.items():
            value, random = float(distance(rates)), distance(floors[counts])
            chances = (_p(value, random), _p(value, distance(shifted)))
            rows.append((*key, name, value, random.mean(), np.quantile(random, 0.95), *chances))
    columns = [*by, "distance", "value", "floor", "floor_high", "p_random", "p_shift"]
    frame = pd.DataFrame(rows, columns=columns)
    corrected = {f"q_{null}": false_discovery_control(frame[f"p_{null}"]) for null in ("random", "shift")}
    return frame.assign(**corrected)


def checked_kept(kept: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A copy of a frame of kept tokens with plain columns (`checked`): sample, vision_index, kept and `by`.

    Raises:
        ValueError: A column is missing or holds something else.
    """
    columns = {"sample": "label", "vision_index": "counted", "kept": "truth"}
    keys = {**dict.fromkeys(by, "label"), "layer": "counted", "criterion": "label"}
    there = {name: kind for name, kind in keys.items() if name in by or name in getattr(kept, "columns", ())}
    return checked(kept, "kept tokens", there | columns)


def _normalised(rates: Rates) -> Rates:
    total = rates.sum(-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("every curve must keep some tokens; got one that keeps nothing.")
    return rates / total


def bin_index(vision_index: VisionIndices, n_tokens: VisionIndices, bins: int) -> VisionIndices:
    """The number, from 0, of the bin that holds a token, if the sequence is cut into equal parts.

    Args:
        vision_index: The token's index among those of its picture.
        n_tokens: The number of tokens of the picture.
        bins: The number of parts.

    Raises:
        ValueError: There are fewer than two bins, or more than tokens.
    """
    if not 2 <= whole_number("bins", bins) <= np.min(n_tokens):
        raise ValueError(f"bins must lie between 2 and the tokens of a sample, {np.min(n_tokens)}; got {bins}.")
    return vision_index * bins // n_tokens


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
