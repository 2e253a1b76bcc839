"""Gathers of columns, row by row, and flags of the highest scores."""

from __future__ import annotations

import torch
from torch import Tensor

from v2drop.types import Columns, Flags, Scores, States, Survivors, Valid


def gather_columns(x: Tensor, columns: Columns) -> Tensor:
    """Entries of `x` at the given columns of every row.

    Args:
        x: tensor [batch or 1, length, ...]; a single row serves all rows.
        columns: columns to gather, [batch, columns].

    Returns:
        A tensor [batch, columns, ...] on the device of `x`.
    """
    rows = torch.arange(len(columns), device=x.device)[:, None] if len(x) > 1 else 0
    return x[rows, columns.to(x.device)]


def top_mask(score: Scores, valid: Valid, n_keep: list[int]) -> Valid:
    """Flags of the `n_keep[row]` highest scores of every row; ties go to the earlier token.

    Args:
        score: scores of the candidates.
        valid: False in padding, which is never flagged.
        n_keep: number of flags, per row.

    >>> score = torch.tensor([[1.0, 3.0, 3.0, 2.0]])
    >>> top_mask(score, torch.ones_like(score, dtype=torch.bool), [2])
    tensor([[False,  True,  True, False]])
    """
    order = score.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(score.shape[1], device=score.device).expand_as(order)
    chosen = place < torch.tensor(n_keep, device=score.device)[:, None]
    return torch.zeros_like(valid).scatter(1, order, chosen) & valid


def padded_columns(flags: Flags, width: int) -> tuple[Tensor, Tensor]:
    """Flagged columns of every row, ascending, padded at the end to a common width.

    Args:
        flags: flags of columns.
        width: columns per row in the result; at least the largest number of flags in a row.

    Returns:
        The columns, [batch, width], and flags that are False in padding, [batch, width].

    >>> padded_columns(torch.tensor([[False, True, True], [True, False, False]]), 2)
    (tensor([[1, 2],
            [0, 1]]), tensor([[ True,  True],
            [ True, False]]))
    """
    columns = torch.sort((~flags).int(), dim=1, stable=True).indices[:, :width]
    return columns, flags.gather(1, columns)


def with_new_states(states: States, places: Flags, new: Survivors) -> States:
    """Hidden states with those at flagged columns replaced.

    Args:
        states: hidden states.
        places: the columns that are replaced.
        new: states of these columns of every row, ascending, rows padded at the end.
    """
    replaced = gather_columns(new, (places.cumsum(1) - 1).clamp(min=0)).to(states)
    return torch.where(places[..., None].to(states.device), replaced, states)
