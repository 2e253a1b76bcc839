"""`Layout`: the remaining columns of a sequence, and the way back to the full sequence.

The full sequence is the sequence that entered layer 0, or the caller's sequence at a drop at layer 0. A layout gives,
for each row and each remaining column, the column's position in the full sequence. If rows keep different numbers of
columns, they are aligned at the end, and the columns before a short row's first token are *holes*. A hole repeats a
column of its row, no token may attend to it, and nothing is read from it.
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
        index: position of each column in the full sequence, ascending; in a hole, the position of another column.
        valid: False in holes.
        holes: whether any row has holes; a Python bool, so that reading it needs no synchronisation with the device.
    """

    index: Columns
    valid: Flags
    holes: bool

    @classmethod
    def full(cls, batch: int, length: int, device: torch.device) -> Layout:
        """The layout of a sequence with all its columns.

        Args:
            batch: number of rows.
            length: number of columns.
            device: device of the tensors.
        """
        index = torch.arange(length, device=device).expand(batch, length)
        return cls(index, torch.ones_like(index, dtype=torch.bool), False)

    @property
    def width(self) -> int:
        """Number of columns per row, holes included."""
        return self.index.shape[1]

    def selected(self, keep: Flags, lengths: list[int]) -> tuple[Layout, Columns]:
        """The layout that keeps only the flagged columns.

        Args:
            keep: flags of this layout's columns.
            lengths: number of flags per row; an argument, because counting them would synchronise with the device.

        Returns:
            The new layout, and the place of each of its columns in this layout, [batch, columns].
        """
        width = max(lengths)
        order = torch.sort(keep.int(), dim=1, stable=True).indices[:, -width:]
        valid = keep.gather(1, order)
        order = torch.where(valid, order, order[:, -1:])
        return Layout(self.index.gather(1, order), valid, min(lengths) < width), order

    def columns_in(self, later: Layout, length: int) -> Columns:
        """Place of each column of a later layout in this layout, [batch, columns]; any number in its holes.

        Args:
            later: layout that keeps a part of this layout's columns.
            length: length of the full sequence.
        """
        place = torch.arange(self.width, device=self.index.device).expand_as(self.index)
        # Holes write to an extra position at the end, which is never read.
        position = torch.where(self.valid, self.index, length)
        return place.new_zeros(len(place), length + 1).scatter(1, position, place).gather(1, later.index)

    def last(self, n: int) -> Layout:
        """The last `n` columns of this layout; all of them if it has fewer."""
        return Layout(self.index[:, -n:], self.valid[:, -n:], self.holes)

    def without_last(self, n: int) -> Layout:
        """This layout without its last `n` columns, which hold no hole and are the last of the full sequence too."""
        index, valid = self.index[:, : self.width - n], self.valid[:, : self.width - n]
        return Layout(torch.where(valid, index, index[:, -1:]), valid, self.holes)  # a hole may repeat a removed column

    def of_rows(self, rows: Int[Tensor, " rows"]) -> Layout:
        """The layout of other rows, each one of this layout's."""
        return Layout(self.index[rows], self.valid[rows], self.holes)

    def extended(self, start: int, stop: int) -> Layout:
        """This layout with the positions from `start` to `stop` - 1 appended to every row."""
        new = torch.arange(start, stop, device=self.index.device).expand(len(self.index), -1)
        ones = torch.ones_like(new, dtype=torch.bool)
        return Layout(torch.cat([self.index, new], 1), torch.cat([self.valid, ones], 1), self.holes)


def dropped_before(layout: Layout, not_padding: Bool[Tensor, "batch length"]) -> tuple[Columns, Int[Tensor, "batch 1"]]:
    """Number of dropped tokens before each remaining column, [batch, columns], and in the whole row, [batch, 1].

    Args:
        layout: remaining columns.
        not_padding: flags of the full sequence's columns; False in padding, which is not counted.
    """
    is_token = layout.valid & not_padding.gather(1, layout.index)
    before = not_padding.cumsum(1).gather(1, layout.index) - is_token.cumsum(1)
    return before, not_padding.sum(1, keepdim=True) - is_token.sum(1, keepdim=True)


def restore(x: Float[Tensor, "batch column dim"], layout: Layout, length: int) -> Float[Tensor, "batch length dim"]:
    """Put columns back at their positions in the full sequence; NaN where a column was dropped.

    NaN, because a dropped token has no hidden state in this layer, and any number there would be wrong.

    Args:
        x: values of the layout's columns.
        layout: remaining columns.
        length: length of the full sequence.
    """
    position = torch.where(layout.valid, layout.index, length).to(x.device)  # holes write to an extra last column
    full = x.new_full((len(x), length + 1, x.shape[-1]), torch.nan)
    full = full.scatter(1, position[..., None].expand_as(x), x)
    return full[:, :length]
