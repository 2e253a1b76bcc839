"""Grids of tokens: where on its picture each vision token lies, and a picture painted with values of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from v2drop.arguments import whole_number


@dataclass(frozen=True)
class TokenGrid:
    """A grid of vision tokens, row by row in the prompt, over a picture or a part of it.

    Attributes:
        rows: The number of rows.
        columns: The number of columns.
        box: Top, left, bottom and right of what the grid shows, as shares of the picture.
        newline: Whether each row ends with a further token, which shows nothing.
    """

    rows: int
    columns: int
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    newline: bool = False

    @property
    def n_tokens(self) -> int:
        """The number of tokens, newlines included."""
        return self.rows * (self.columns + self.newline)


Grids = int | Sequence[TokenGrid]  # of a picture, in prompt order; an int is the number of tokens of one square grid


def grid_side(n_tokens: int) -> int:
    """The side of a square grid, in tokens.

    Raises:
        ValueError: `n_tokens` is no int of 1 or more, or not a square number.
    """
    side = math.isqrt(whole_number("n_tokens", n_tokens, 1))
    if side * side != n_tokens:
        raise ValueError(
            f"n_tokens must be a square number, a grid of patches; got {n_tokens}. `Loaded.token_grids` has the grids "
            "of other pictures."
        )
    return side


def as_grids(grids: Grids) -> tuple[TokenGrid, ...]:
    """Grids as such; a number of tokens becomes one square grid over the whole picture.

    Raises:
        ValueError: The number of tokens is not a square number, or something else is given.

    >>> as_grids(4)
    (TokenGrid(rows=2, columns=2, box=(0.0, 0.0, 1.0, 1.0), newline=False),)
    """
    if isinstance(grids, Sequence) and grids and all(isinstance(grid, TokenGrid) for grid in grids):
        return tuple(grids)
    side = grid_side(grids)
    return (TokenGrid(side, side),)


def tiles(rows: int, columns: int, side: int) -> list[TokenGrid]:
    """Grids of `side` x `side` tokens over the tiles of a picture, row by row."""
    return [
        TokenGrid(side, side, (row / rows, column / columns, (row + 1) / rows, (column + 1) / columns))
        for row in range(rows)
        for column in range(columns)
    ]


def token_centres(grids: Grids) -> Float[np.ndarray, "tokens 2"]:
    """The centre of what each token shows, down and right, as shares of the picture; NaN for newlines.

    >>> token_centres([TokenGrid(1, 2, newline=True)]).tolist()
    [[0.5, 0.25], [0.5, 0.75], [nan, nan]]
    """
    centres = []
    for grid in as_grids(grids):
        top, left, bottom, right = grid.box
        down = top + (np.arange(grid.rows) + 0.5) / grid.rows * (bottom - top)
        along = left + (np.arange(grid.columns) + 0.5) / grid.columns * (right - left)
        places = np.stack(np.meshgrid(down, along, indexing="ij"), -1)
        if grid.newline:
            places = np.concatenate([places, np.full((grid.rows, 1, 2), np.nan)], 1)
        centres.append(places.reshape(-1, 2))
    return np.concatenate(centres)


def painted(
    values: Float[np.ndarray, " tokens"], grids: Grids, resolution: int = 192
) -> Float[np.ndarray, "rows columns"]:
    """Values of tokens, painted where the tokens lie; where grids overlap, their mean; NaN where no token lies.

    Args:
        values: A number for each token, in prompt order.
        grids: The picture's grids.
        resolution: The number of rows and columns of the result; one grid over all of the picture has its own.

    Raises:
        ValueError: There are not as many values as tokens.
    """
    grids = as_grids(grids)
    ends = np.cumsum([grid.n_tokens for grid in grids])
    if len(values) != ends[-1]:
        raise ValueError(f"there must be a value a token, {ends[-1]}; got {len(values)}.")
    whole = len(grids) == 1 and grids[0].box == TokenGrid.box
    shape = (grids[0].rows, grids[0].columns) if whole else (resolution, resolution)
    total, number = np.zeros(shape), np.zeros(shape)
    for grid, own in zip(grids, np.split(values, ends[:-1]), strict=True):
        top, left, bottom, right = grid.box
        (rows, row), (columns, column) = (
            _cells(shape[0], top, bottom, grid.rows),
            _cells(shape[1], left, right, grid.columns),
        )
        total[np.ix_(rows, columns)] += own.reshape(grid.rows, -1)[np.ix_(row, column)]
        number[np.ix_(rows, columns)] += 1
    return np.divide(total, number, out=np.full(shape, np.nan), where=number > 0)


def _cells(n_lines: int, low: float, high: float, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The lines of a painting whose middle lies between two shares, and for each the number of its cell of a grid."""
    middle = (np.arange(n_lines) + 0.5) / n_lines
    inside = np.flatnonzero((low <= middle) & (middle < high))
    return inside, ((middle[inside] - low) / (high - low) * n_cells).astype(int)
