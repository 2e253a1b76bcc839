"""Gathering columns of every row, and choosing the columns or candidates that stay."""

from __future__ import annotations

import torch
from torch import Tensor

from v2drop.types import Columns, Flags, Scores, Valid


def gather_columns(x: Tensor, columns: Columns) -> Tensor:
    """Columns of `x` [batch or 1, length, ...] for every row: [batch, columns, ...]."""
    rows = torch.arange(len(columns), device=x.device)[:, None] if len(x) > 1 else 0
    return x[rows, columns.to(x.device)]


def top_mask(score: Scores, real: Valid, left: list[int]) -> Valid:
    """Flags of the `left[row]` highest scores of every row; ties go to the earlier token.

    >>> score = torch.tensor([[1.0, 3.0, 3.0, 2.0]])
    >>> top(score, torch.ones_like(score, dtype=torch.bool), [2])
    tensor([[False,  True,  True, False]])
    """
    order = score.masked_fill(~real, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(score.shape[1], device=score.device).expand_as(order)
    chosen = place < torch.tensor(left, device=score.device)[:, None]
    return torch.zeros_like(real).scatter(1, order, chosen) & real


def padded_columns(flags: Flags, most: int) -> tuple[Tensor, Tensor]:
    """Columns of the flags of every row, ascending and padded at the end, [batch, most], and which are no padding.

    >>> flagged(torch.tensor([[False, True, True], [True, False, False]]), 2)
    (tensor([[1, 2],
            [0, 1]]), tensor([[ True,  True],
            [ True, False]]))
    """
    columns = torch.sort((~flags).int(), dim=1, stable=True).indices[:, :most]
    return columns, flags.gather(1, columns)
