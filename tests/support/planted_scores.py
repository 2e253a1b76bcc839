"""Scores of which position makes up a known share of the variance."""

import numpy as np
import pandas as pd


def planted_scores(samples: int, tokens: int, share: float, seed: int = 0) -> pd.DataFrame:
    """Position, `share` of the variance, and noise the rest; the correlation of score and rank is the share's root."""
    rng, rank = np.random.default_rng(seed), np.arange(tokens)
    trend = (rank - rank.mean()) / rank.std()
    score = np.sqrt(share) * trend + np.sqrt(1 - share) * rng.normal(size=(samples, tokens))
    keys = {"sample": np.repeat(np.arange(samples), tokens), "layer": 0}
    place = np.tile(rank, samples)
    return pd.DataFrame({**keys, "token": place, "vision_index": place, "planted": score.flatten()})
