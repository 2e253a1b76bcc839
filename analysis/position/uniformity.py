"""The distance of the kept tokens from an even spread over the sequence, compared with chance rather than with 0."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from analysis.position.binning import BINS, Rates, bin_edges, bin_rates, checked_kept
from analysis.position.distances import DISTANCES, jackknife_interval, without_one_sample
from analysis.statistics.lists import among, names
from analysis.statistics.token_tables import tokens_per_sample
from v2drop.arguments import seed_number, whole_number

COLUMNS = [*"distance value floor floor_high excess low high n p_random p_shift".split()]


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
        quantile under random dropping), excess (value - floor), low, high (of the excess, `jackknife_interval` over
        samples), n (samples), p_random, p_shift ((1 + draws as far or farther) / (1 + draws)), q_random and q_shift (p
        corrected for all rows, Benjamini and Hochberg).

    Raises:
        ValueError: A curve keeps nothing, there are more bins than tokens, an argument is out of range, the column kept
            does not hold True and False, or the tokens of a sample are not all there once.
    """
    by, draws, seed = names("by", by, besides=COLUMNS), whole_number("draws", draws, 1), seed_number(seed)
    kept = checked_kept(kept, by)
    tokens_per_sample(kept, [*by, "sample"])
    floors: dict[tuple, Rates] = {}
    rows = []
    for key, group in kept.sort_values("vision_index", kind="stable").groupby(list(by), sort=False):
        patterns = [sample.to_numpy() for _, sample in group.groupby("sample").kept]
        rates = np.stack([bin_rates(pattern[None], bins)[0] for pattern in patterns])
        counts = tuple((len(pattern), int(pattern.sum())) for pattern in patterns)
        if counts not in floors:
            floors[counts] = _at_random(counts, bins, draws, np.random.default_rng([seed, 1]))
        shifted = _cyclic_shifts(patterns, bins, draws, np.random.default_rng([seed, 2]))
        for name, distance in DISTANCES.items():
            value, random = float(distance(rates.mean(0))), distance(floors[counts])
            excess = value - random.mean()
            ends = jackknife_interval(excess, without_one_sample(distance, rates))
            null = (random.mean(), np.quantile(random, 0.95), excess, *ends, len(rates))
            rows.append((*key, name, value, *null, _p(value, random), _p(value, distance(shifted))))
    frame = pd.DataFrame(rows, columns=[*by, *COLUMNS])
    corrected = {f"q_{null}": false_discovery_control(frame[f"p_{null}"]) for null in ("random", "shift")}
    return frame.assign(**corrected)


def distance_difference(
    kept: pd.DataFrame, baseline: Hashable, by: Sequence[str] = ("layer",), bins: int = BINS
) -> pd.DataFrame:
    """How much farther from a flat curve every criterion's retention is than that of a baseline on the same samples.

    Args:
        kept: The frame as for `distance_from_uniform`, with the column criterion.
        baseline: The criterion that is subtracted.
        by: The columns that tell comparisons apart beside the criterion.
        bins: The number of parts of the sequence.

    Returns:
        One row per comparison, criterion and distance: `by`, criterion, distance, difference (criterion - baseline;
        above 0 the criterion is less even), low, high (95 %, `jackknife_interval` over samples; NaN for a single one),
        n (samples).

    Raises:
        ValueError: `baseline` is not a criterion of every comparison, or another has different samples; as for
            `distance_from_uniform`.
    """
    columns = ["criterion", "distance", "difference", "low", "high", "n"]
    by = names("by", by, besides=columns)
    kept = checked_kept(kept, [*by, "criterion"])
    baseline = among("baseline", baseline, kept.criterion)
    tokens_per_sample(kept, [*by, "criterion", "sample"])
    rows = []
    for key, group in kept.sort_values("vision_index", kind="stable").groupby(list(by), sort=False):
        curves = {name: _sample_rates(rows, bins) for name, rows in group.groupby("criterion", sort=False)}
        for name in (name for name in curves if name != baseline):
            if baseline not in curves or not curves[name].index.equals(curves[baseline].index):
                raise ValueError(f"{name} must keep tokens of the samples of {baseline!r}; got others at {key}.")
            for distance, of in DISTANCES.items():
                both = [curves[each].to_numpy() for each in (name, baseline)]
                value, base = (float(of(rates.mean(0))) for rates in both)
                one, other = (without_one_sample(of, rates) for rates in both)
                ends = jackknife_interval(value - base, one - other)
                rows.append((*key, name, distance, value - base, *ends, len(both[0])))
    return pd.DataFrame(rows, columns=[*by, *columns])


def _sample_rates(kept: pd.DataFrame, bins: int) -> pd.DataFrame:
    """The retention of every bin, one row per sample."""
    rates = {sample: bin_rates(pattern.to_numpy()[None], bins)[0] for sample, pattern in kept.groupby("sample").kept}
    return pd.DataFrame.from_dict(rates, orient="index")


def _at_random(counts: tuple[tuple[int, int], ...], bins: int, draws: int, rng: np.random.Generator) -> Rates:
    total = np.zeros((draws, bins))
    for n, kept in counts:
        sizes = np.diff([*bin_edges(n, bins), n])
        total += rng.multivariate_hypergeometric(sizes, kept, size=draws, method="marginals") / sizes
    return total / len(counts)


def _cyclic_shifts(patterns: Sequence[np.ndarray], bins: int, draws: int, rng: np.random.Generator) -> Rates:
    total = np.zeros((draws, bins))
    for pattern in patterns:
        n = len(pattern)
        everywhere = bin_rates(pattern[(np.arange(n)[None] - np.arange(n)[:, None]) % n], bins)
        total += everywhere[rng.integers(n, size=draws)]
    return total / len(patterns)


def _p(value: float, null: np.ndarray) -> float:
    return float((1 + np.sum(null >= value * (1 - 1e-9))) / (1 + len(null)))
