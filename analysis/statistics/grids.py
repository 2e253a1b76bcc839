"""Square grids of tokens."""

from __future__ import annotations

import math


def grid_side(n_tokens: int) -> int:
    """Tokens in a row of a square grid.

    Raises:
        ValueError: the tokens are no square grid.
    """
    side = math.isqrt(n_tokens)
    if side * side != n_tokens:
        raise ValueError(f"n_tokens must be a square number, a grid of patches; got {n_tokens}.")
    return side
