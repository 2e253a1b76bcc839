"""The sequence in equal parts: in which one a token lies, and what share of each is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analysis.statistics.frames import checked
from v2drop.arguments import whole_number

BINS = 10
Rates = Float[np.ndarray, "*draws bins"]
VisionIndices = np.ndarray | pd.Series | int


def checked_kept(kept: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A copy of a frame of kept tokens with plain columns (`checked`): sample, vision_index, kept and `by`.

    Raises:
        ValueError: A column is missing or holds something else.
    """
    columns = {"sample": "label", "vision_index": "counted", "kept": "truth"}
    keys = {**dict.fromkeys(by, "label"), "layer": "counted", "criterion": "label"}
    there = {name: kind for name, kind in keys.items() if name in by or name in getattr(kept, "columns", ())}
    return checked(kept, "kept tokens", there | columns)


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


def bin_edges(n: int, bins: int) -> np.ndarray:
    """The first token of every bin of n tokens."""
    return np.searchsorted(bin_index(np.arange(n), n, bins), np.arange(bins))


def bin_rates(patterns: Bool[np.ndarray, "draws tokens"], bins: int) -> Rates:
    """The share of the tokens of every bin that each pattern keeps."""
    n = patterns.shape[1]
    edges = bin_edges(n, bins)
    return np.add.reduceat(patterns.astype(float), edges, axis=1) / np.diff([*edges, n])
