"""What a method sees at a drop layer, and how its scores become a choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from v2drop.types import Hidden, Ranks, Real, Scores


@dataclass(frozen=True)
class Candidates:
    """What a method sees at one drop layer: the vision tokens still there, in prompt order, rows padded at the end.

    Attributes:
        layer: at whose input the drop happens.
        hidden: their states at the input of the layer.
        previous: their states at the input of the layer before; None unless the method `needs_previous`.
        rank: how many vision tokens of the prompt come before each.
        real: False in padding.
        of: vision tokens the prompt had, per row.
        present: candidates per row.
        left: how many will be left, per row.
    """

    layer: int
    hidden: Hidden
    previous: Hidden | None
    rank: Ranks
    real: Real
    of: list[int]
    present: list[int]
    left: list[int]


def top(score: Scores, real: Real, left: list[int]) -> Real:
    """Flags of the `left[row]` highest scores of every row; ties go to the earlier token.

    >>> score = torch.tensor([[1.0, 3.0, 3.0, 2.0]])
    >>> top(score, torch.ones_like(score, dtype=torch.bool), [2])
    tensor([[False,  True,  True, False]])
    """
    order = score.masked_fill(~real, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = torch.arange(score.shape[1], device=score.device).expand_as(order)
    chosen = place < torch.tensor(left, device=score.device)[:, None]
    return torch.zeros_like(real).scatter(1, order, chosen) & real
