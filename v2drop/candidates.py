"""What a method sees at a drop layer, and how its scores become a choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from v2drop.attention import Angles
from v2drop.models import Parts
from v2drop.types import Flags, Hidden, Ranks, Real, Scores, States
from v2drop.watcher import Watcher


@dataclass(frozen=True)
class Whole:
    """The sequence that candidates stand in: every column still there, text too.

    Attributes:
        states: at the input of the layer.
        columns: where the candidates are.
        visible: columns that are neither padding nor holes.
        closing: text behind a row's last vision token.
        last: column of a row's last token, [batch, 1].
        noted: what the method's `start` said of each column; None if it said nothing.
        angles: cosines and sines at the position ids before the drop; None at layer 0.
        mask: the layer's attention mask before the drop, as the model's operator takes it; None: plain causal.
        position: of the candidates in the caller's sequence; -1 for a token made of no single one.
        placeholders: image placeholders of the caller's sequence; None if nobody knows them.
        parts: of the model.
        watcher: the method's own.
    """

    states: States
    columns: Ranks
    visible: Flags
    closing: Flags
    last: Int[Tensor, "batch 1"]
    noted: Flags | None
    angles: Angles | None
    mask: Tensor | None
    position: Ranks
    placeholders: Bool[Tensor, "batch length"] | None
    parts: Parts
    watcher: Watcher


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
        whole: the sequence they stand in; None if they were made by hand.
    """

    layer: int
    hidden: Hidden
    previous: Hidden | None
    rank: Ranks
    real: Real
    of: list[int]
    present: list[int]
    left: list[int]
    whole: Whole | None = None


@dataclass(frozen=True)
class Choice:
    """Whose places go on, and who stands there.

    Attributes:
        keep: flags over the candidates: places that go on.
        left: how many, per row.
        order: by place, ascending: which candidate stands there now; -1 for a token made of no single one, and in
            padding. None: everyone keeps their own place.
        states: by place: the states that go on. None: nobody's changes.
    """

    keep: Real
    left: list[int]
    order: Int[Tensor, "batch left"] | None = None
    states: Float[Tensor, "batch left dim"] | None = None


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


def flagged(flags: Flags, most: int) -> tuple[Tensor, Tensor]:
    """Columns of the flags of every row, ascending and padded at the end, [batch, most], and which are no padding.

    >>> flagged(torch.tensor([[False, True, True], [True, False, False]]), 2)
    (tensor([[1, 2],
            [0, 1]]), tensor([[ True,  True],
            [ True, False]]))
    """
    columns = torch.sort((~flags).int(), dim=1, stable=True).indices[:, :most]
    return columns, flags.gather(1, columns)
