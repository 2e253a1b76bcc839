"""Which columns of a sequence are still there: gathers for states, masks and position ids, and the way back.

A layout names, for each row and each remaining column, the position it had in the full sequence. Rows may have
different lengths: they are aligned at the end, and the columns before a short row's first token are *holes*: they
repeat some real column, no token may attend to them, and nothing is read from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from v2drop.types import Columns, Flags


@dataclass(frozen=True)
class Layout:
    """Remaining columns of every row.

    Attributes:
        index: full-sequence position of every column, ascending in a row; some real position in a hole.
        real: False in holes.
        holes: whether any row has holes (known on the host, so asking costs no synchronisation).
    """

    index: Columns
    valid: Flags
    holes: bool

    @classmethod
    def full(cls, batch: int, length: int, device: torch.device) -> Layout:
        """Every column of every row."""
        index = torch.arange(length, device=device).expand(batch, length)
        return cls(index, torch.ones_like(index, dtype=torch.bool), False)

    @property
    def width(self) -> int:
        """Columns a row has."""
        return self.index.shape[1]

    def selected(self, keep: Flags, lengths: list[int]) -> tuple[Layout, Columns]:
        """The layout in which only the columns flagged `keep` remain, and where they are in this one.

        Args:
            keep: flags over this layout's columns.
            lengths: how many flags each row has (given, so that the device need not be asked).
        """
        width = max(lengths)
        order = torch.sort(keep.int(), dim=1, stable=True).indices[:, -width:]
        valid = keep.gather(1, order)
        order = torch.where(valid, order, order[:, -1:])
        return Layout(self.index.gather(1, order), valid, min(lengths) < width), order

    def columns_in(self, later: Layout, length: int) -> Columns:
        """Where the columns of a later layout are in this one; in its holes, anywhere.

        Args:
            later: made of this one.
            length: of the full sequence.
        """
        place = torch.arange(self.width, device=self.index.device).expand_as(self.index)
        # One position more, which takes what holes write.
        position = torch.where(self.valid, self.index, length)
        return place.new_zeros(len(place), length + 1).scatter(1, position, place).gather(1, later.index)

    def last(self, n: int) -> Layout:
        """The last `n` columns of this layout, or all if it has fewer."""
        return Layout(self.index[:, -n:], self.valid[:, -n:], self.holes)

    def without_last(self, n: int) -> Layout:
        """This layout without its last `n` columns."""
        keep = slice(0, self.width - n)
        return Layout(self.index[:, keep], self.valid[:, keep], self.holes)

    def extended(self, start: int, stop: int) -> Layout:
        """This layout with the positions `start` to `stop` appended to every row."""
        new = torch.arange(start, stop, device=self.index.device).expand(len(self.index), -1)
        ones = torch.ones_like(new, dtype=torch.bool)
        return Layout(torch.cat([self.index, new], 1), torch.cat([self.valid, ones], 1), self.holes)


def dropped_before(layout: Layout, present: Bool[Tensor, "batch length"]) -> tuple[Columns, Int[Tensor, "batch 1"]]:
    """How many tokens are no longer there before each column, [batch, column], and in all, [batch, 1].

    Args:
        layout: what is left.
        present: columns of the full sequence that are no padding, which is not counted.
    """
    there = layout.valid & present.gather(1, layout.index)
    before = present.cumsum(1).gather(1, layout.index) - there.cumsum(1)
    return before, present.sum(1, keepdim=True) - there.sum(1, keepdim=True)


def restore(x: Float[Tensor, "batch column dim"], layout: Layout, length: int) -> Float[Tensor, "batch length dim"]:
    """Back to the full sequence, NaN where a column is gone: a number read there would be a wrong one."""
    layout_index = torch.where(layout.valid, layout.index, length).to(x.device)  # holes go to a column cut off below
    full = x.new_full((len(x), length + 1, x.shape[-1]), torch.nan)
    full = full.scatter(1, layout_index[..., None].expand_as(x), x)
    return full[:, :length]
