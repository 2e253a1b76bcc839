"""Kept tokens whose bias is known, and what the tests of position make of them: level and power."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.position.retention import score_position
from analysis.position.uniformity import BINS, distance_from_uniform


def planted_kept(
    samples: int, tokens: int, share: float, ratio: float, block: int = 1, bins: int = BINS, seed: int = 0
) -> pd.DataFrame:
    """Tokens kept at random, the last bin `ratio` times as often as the first and the bins between in line.

    Args:
        samples: pictures.
        tokens: of each.
        share: of tokens kept on average over bins, small enough that no bin would keep more than all.
        ratio: of retention at the end and at the start; 1 is no bias.
        block: so many neighbours are kept or dropped together, starting anywhere (round the end): clustered content.
        bins: parts of the sequence.
        seed: of the draws.

    Returns:
        sample, criterion ("planted"), rank, kept, as `analysis.kept_tokens_by` gives them.

    Raises:
        ValueError: no such shares exist.
    """
    if ratio < 0 or bins < 2:
        raise ValueError(f"ratio must be 0 or more and bins 2 or more; got {ratio} and {bins}.")
    start = 2 * share / (1 + ratio)
    if not 0 < start * max(1, ratio) <= 1:
        raise ValueError(f"share times the larger end's excess must lie in (0, 1]; got {share} and ratio {ratio}.")
    rng, rank = np.random.default_rng(seed), np.arange(tokens)
    chance = start * (1 + (ratio - 1) * (rank * bins // tokens) / (bins - 1))
    drawn = np.repeat(rng.random((samples, -(-tokens // block))), block, axis=1)[:, :tokens]
    offset = rng.integers(block, size=(samples, 1))
    kept = np.take_along_axis(drawn, (rank - offset) % tokens, axis=1) < chance
    keys = {"sample": np.repeat(np.arange(samples), tokens), "criterion": "planted", "rank": np.tile(rank, samples)}
    return pd.DataFrame({**keys, "kept": kept.flatten()})


def power(
    ratio: float,
    samples: int,
    tokens: int,
    share: float,
    block: int = 1,
    trials: int = 100,
    level: float = 0.05,
    seed: int = 0,
) -> dict[str, float]:
    """How often each test of position finds a bias of known size; at a ratio of 1, how often a false alarm.

    Args:
        ratio: of retention at the end and at the start (`planted_kept`).
        samples: pictures.
        tokens: of each.
        share: of tokens kept.
        block: so many neighbours are kept or dropped together.
        trials: repetitions.
        level: below which a p-value counts.
        seed: of the first repetition.

    Returns:
        Share of trials by test: "correlation" (`score_position` of kept and dropped), "ks random" and "ks shift"
        (`distance_from_uniform`).

    Raises:
        ValueError: no such bias exists.
    """
    found = []
    for trial in range(seed, seed + trials):
        kept = planted_kept(samples, tokens, share, ratio, block, seed=trial)
        table = kept.assign(layer=0, token=kept["rank"], planted=kept.kept.astype(float))
        ks = distance_from_uniform(kept, draws=199, seed=trial).iloc[0]
        found.append((score_position(table, ["planted"]).p.item(), ks.p_random, ks.p_shift))
    often = (np.array(found) <= level).mean(0)
    return dict(zip(["correlation", "ks random", "ks shift"], often.tolist(), strict=True))
