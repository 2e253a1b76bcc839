"""The columns of a prompt: which are vision tokens, text, or padding, and where each of them comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from v2drop.engine.contract import Candidates, Selection
from v2drop.scoring.selection import padded_columns
from v2drop.sequence.layout import Layout
from v2drop.types import Columns, Flags, Indices


@dataclass(frozen=True)
class PromptColumns:
    """Flags and indices of every column, [batch, length].

    Attributes:
        vision: columns that may be dropped: vision tokens but for a row's last token, whose output is the next token.
        not_padding: columns that are no padding.
        fixed: columns that always stay: text, and the last column, which generation reads.
        text_after: text behind the row's last vision token.
        vision_index: number of the prompt's vision tokens before this one.
        origin: column in the caller's sequence; -1 for a token that is none of the caller's.
    """

    vision: Flags
    not_padding: Flags
    fixed: Flags
    text_after: Flags
    vision_index: Columns
    origin: Columns

    @classmethod
    def of_call(cls, padding_mask: Tensor | None, vision: Bool[Tensor, "batch length"]) -> PromptColumns:
        """The columns that a decoder is called with.

        Args:
            padding_mask: [batch, length], 0 in padding; None: nothing is padded.
            vision: columns of vision tokens.
        """
        not_padding = torch.ones_like(vision) if padding_mask is None else padding_mask.to(vision.device).bool()
        length = vision.shape[1]
        origin = torch.arange(length, device=vision.device).expand_as(vision)
        last = length - 1 - not_padding.flip(1).int().argmax(1, keepdim=True)
        vision = vision & not_padding & (origin != last)
        fixed = (not_padding & ~vision) | (origin == length - 1)
        vision_index = vision.cumsum(1) - 1
        text_after = not_padding & ~vision & (vision_index == vision_index[:, -1:])
        return cls(vision, not_padding, fixed, text_after, vision_index, origin)

    @property
    def length(self) -> int:
        """Columns of a row."""
        return self.vision.shape[1]

    def counts(self) -> tuple[list[int], list[int], int]:
        """Vision tokens and fixed columns per row, and the length of the suffix that is fixed in every row."""
        suffix = self.fixed.flip(1).int().cumprod(1).sum(1)
        n_vision, n_fixed, suffixes = torch.stack([self.vision.sum(1), self.fixed.sum(1), suffix]).tolist()
        return n_vision, n_fixed, min(suffixes)

    def flags_in(self, layout: Layout, name: str) -> Flags:
        """One of the flags for the columns of a layout, False in holes."""
        return getattr(self, name).gather(1, layout.index) & layout.valid

    def selected(self, layout: Layout) -> PromptColumns:
        """The columns of a layout alone."""
        flags = {name: self.flags_in(layout, name) for name in ("vision", "not_padding", "fixed", "text_after")}
        vision_index, origin = (x.gather(1, layout.index) for x in (self.vision_index, self.origin))
        return PromptColumns(**flags, vision_index=vision_index, origin=origin)

    def reordered(self, choice: Selection, candidates: Candidates, columns: Indices) -> PromptColumns:
        """The columns with other tokens at the places that stay, where a method changed the order or merged.

        Args:
            choice: the places that stay, and which candidate stands at each.
            candidates: the candidates.
            columns: columns of the candidates.
        """
        places, valid = padded_columns(choice.keep, choice.order.shape[1])
        # One column more, which takes what padding writes and is cut off again.
        to = torch.where(valid, columns.gather(1, places), self.length)
        origin = _written(self.origin, to, candidates.sequence.position, choice.order)
        return replace(
            self, origin=origin, vision_index=_written(self.vision_index, to, candidates.vision_index, choice.order)
        )


def _written(old: Columns, to: Int[Tensor, "batch left"], values: Indices, order: Int[Tensor, "batch left"]) -> Columns:
    """`old` with the values of the candidates in `order` at the columns `to`; -1 for a token made of no single one."""
    new = values.gather(1, order.clamp(min=0)).masked_fill(order < 0, -1)
    return torch.cat([old, old[:, :1]], 1).scatter(1, to, new)[:, :-1]
