"""Scores and kept tokens whose bias is known, and what the tests of position make of them: level and power."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.position import BINS, kept_by, score_position
from analysis.uniformity import distances


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
        sample, criterion ("planted"), rank, kept, as `analysis.position.kept_by` gives them.

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
    frames = []
    for sample in range(samples):
        drawn = np.roll(np.repeat(rng.random(-(-tokens // block)), block)[:tokens], rng.integers(block))
        frames.append(pd.DataFrame({"sample": sample, "criterion": "planted", "rank": rank, "kept": drawn < chance}))
    return pd.concat(frames, ignore_index=True)


def planted_scores(samples: int, tokens: int, share: float, seed: int = 0) -> pd.DataFrame:
    """Scores of which position makes up a known share of the variance, and noise the rest.

    Args:
        samples: pictures, numbered from 0.
        tokens: of each, two or more.
        share: of the variance, in [0, 1]; the correlation of score and rank is its root.
        seed: of the noise.

    Returns:
        sample, layer (0), token, rank, planted (the score), as `analysis.scores.scores` gives them.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1]; got {share}.")
    rng, rank = np.random.default_rng(seed), np.arange(tokens)
    trend = (rank - rank.mean()) / rank.std()
    score = np.sqrt(share) * trend + np.sqrt(1 - share) * rng.normal(size=(samples, tokens))
    keys = {"sample": np.repeat(np.arange(samples), tokens), "layer": 0}
    place = np.tile(rank, samples)
    return pd.DataFrame({**keys, "token": place, "rank": place, "planted": score.flatten()})


def power(
    share: float, samples: int, tokens: int, ratio: float, trials: int = 100, level: float = 0.05, seed: int = 0
) -> dict[str, float]:
    """How often the tests of position find a bias of known size; its level is what they find where there is none.

    Args:
        share: of the scores' variance that position makes up (`planted_scores`); 0 is no bias.
        samples: pictures.
        tokens: of each.
        ratio: of tokens kept, for the tests that look at kept tokens only.
        trials: repetitions.
        level: below which a p-value counts.
        seed: of the first repetition.

    Returns:
        Share of trials by test: "correlation" (`score_position`), "ks random" and "ks shift" (`distances`).
    """
    found = []
    for trial in range(trials):
        table = planted_scores(samples, tokens, share, seed + trial)
        kept = kept_by(table, ratio, ["planted"])
        ks = distances(kept, draws=199, seed=seed + trial).iloc[0]
        found.append((score_position(table, ["planted"]).p.item(), ks.p_random, ks.p_shift))
    share_found = (np.array(found) <= level).mean(0)
    return dict(zip(["correlation", "ks random", "ks shift"], share_found.tolist(), strict=True))
