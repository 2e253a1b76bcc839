"""Kept tokens with a planted bias of known size, and the level and power of the tests of position on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.position.binning import BINS, bin_index
from analysis.position.retention import score_position
from analysis.position.uniformity import distance_from_uniform
from v2drop.arguments import number, seed_number, whole_number
from v2drop.arguments import share as share_number


def planted_kept(
    samples: int, tokens: int, share: float, ratio: float, block: int = 1, bins: int = BINS, seed: int = 0
) -> pd.DataFrame:
    """Tokens kept at random, those in the last bin `ratio` times as often as in the first, linear in between.

    Args:
        samples: The number of pictures.
        tokens: The number of tokens of each.
        share: The share of tokens kept, averaged over bins; small enough that no bin would keep more than all.
        ratio: Retention at the end / retention at the start; 1 is no bias.
        block: The number of neighbours that are kept or dropped together, as clustered content is. Blocks start at a
            random position and continue around the end.
        bins: The number of parts of the sequence.
        seed: The seed of the draws.

    Returns:
        The columns of `analysis.kept_tokens_by` but layer: sample, criterion ("planted"), vision_index, kept.

    Raises:
        ValueError: There are no such shares, or an argument is out of range.
    """
    samples, tokens = whole_number("samples", samples, 1), whole_number("tokens", tokens, 1)
    bins, block, seed = whole_number("bins", bins, 2), whole_number("block", block, 1), seed_number(seed)
    start = 2 * number("share", share) / (1 + number("ratio", ratio, 0))
    if not 0 < start * max(1, ratio) <= 1:
        raise ValueError(f"share times the larger end's excess must lie in (0, 1]; got {share} and ratio {ratio}.")
    rng, index = np.random.default_rng(seed), np.arange(tokens)
    chance = start * (1 + (ratio - 1) * bin_index(index, tokens, bins) / (bins - 1))
    drawn = np.repeat(rng.random((samples, -(-tokens // block))), block, axis=1)[:, :tokens]
    offset = rng.integers(block, size=(samples, 1))
    kept = np.take_along_axis(drawn, (index - offset) % tokens, axis=1) < chance
    sample, index = np.repeat(np.arange(samples), tokens), np.tile(index, samples)
    keys = {"sample": sample, "criterion": "planted", "vision_index": index}
    return pd.DataFrame({**keys, "kept": kept.flatten()})


def detection_power(
    ratio: float,
    samples: int,
    tokens: int,
    share: float,
    block: int = 1,
    trials: int = 100,
    level: float = 0.05,
    seed: int = 0,
) -> dict[str, float]:
    """The share of trials in which each test of position finds a planted bias; at a ratio of 1, of false alarms.

    Args:
        ratio: Retention at the end / retention at the start (`planted_kept`).
        samples: The number of pictures.
        tokens: The number of tokens of each.
        share: The share of tokens kept.
        block: The number of neighbours that are kept or dropped together.
        trials: The number of trials.
        level: The largest p-value that counts as a finding.
        seed: The seed of the first trial; later ones count up.

    Returns:
        The share of trials by test: "correlation" (`score_position` of kept = 1, dropped = 0), "ks random" and
        "ks shift" (`distance_from_uniform`).

    Raises:
        ValueError: There is no such bias, or an argument is out of range.
    """
    trials, level, seed = whole_number("trials", trials, 1), share_number("level", level), seed_number(seed)
    p_values = []
    for trial in range(seed, seed + trials):
        kept = planted_kept(samples, tokens, share, ratio, block, seed=trial)
        table = kept.assign(layer=0, token=kept.vision_index, planted=kept.kept.astype(float))
        ks = distance_from_uniform(kept, draws=199, seed=trial).iloc[0]
        p_values.append((score_position(table, ["planted"]).p.item(), ks.p_random, ks.p_shift))
    often = (np.array(p_values) <= level).mean(0)
    return dict(zip(["correlation", "ks random", "ks shift"], often.tolist(), strict=True))
