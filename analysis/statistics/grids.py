"""Square grids of tokens."""

from __future__ import annotations

import math

from v2drop.arguments import whole_number


def grid_side(n_tokens: int) -> int:
    """The side of a square grid, in tokens.

    Raises:
        ValueError: `n_tokens` is no int of 1 or more, or not a square number.
    """
    side = math.isqrt(whole_number("n_tokens", n_tokens, 1))
    if side * side != n_tokens:
        raise ValueError(f"n_tokens must be a square number, a grid of patches; got {n_tokens}.")
    return side
