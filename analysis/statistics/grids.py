"""Square grids of tokens."""

from __future__ import annotations

import math


def grid_side(n_tokens: int) -> int:
    """The side of a square grid, in tokens.

    Raises:
        ValueError: `n_tokens` is not a square number.
    """
    side = math.isqrt(n_tokens)
    if side * side != n_tokens:
        raise ValueError(f"n_tokens must be a square number, a grid of patches; got {n_tokens}.")
    return side
