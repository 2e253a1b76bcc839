"""The columns of a prompt: flags of vision tokens, text and padding, and positions in the caller's sequence."""

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
        vision: columns that may be dropped: vision tokens, except a row's last token, which predicts the next token.
        not_padding: columns that are no padding.
        fixed: columns that always stay: text, and the last column, which generation reads.
        text_after: text after the row's last vision token.
        vision_index: number of the prompt's vision tokens before a vision token.
        origin: column in the caller's sequence; -1 for a new token (`Selection.order`).
        place: number of columns before it in the caller's sequence that are no padding.
    """

    vision: Flags
    not_padding: Flags
    fixed: Flags
    text_after: Flags
    vision_index: Columns
    origin: Columns
    place: Columns

    @classmethod
    def of_call(cls, padding_mask: Tensor | None, vision: Bool[Tensor, "batch length"]) -> PromptColumns:
        """The columns that a decoder is called with.

        Args:
            padding_mask: attention mask [batch, length], 0 in padding; None: there is no padding.
            vision: flags of vision tokens.

        Raises:
            ValueError: the mask has another shape than the prompt.
        """
        if padding_mask is not None and padding_mask.shape != vision.shape:
            raise ValueError(
                f"attention_mask must be {list(vision.shape)}, as the prompt is; got {list(padding_mask.shape)}."
            )
        not_padding = torch.ones_like(vision) if padding_mask is None else padding_mask.to(vision.device).bool()
        length = vision.shape[1]
        origin = torch.arange(length, device=vision.device).expand_as(vision)
        last = length - 1 - not_padding.flip(1).int().argmax(1, keepdim=True)
        vision = vision & not_padding & (origin != last)
        fixed = (not_padding & ~vision) | (origin == length - 1)
        vision_index = vision.cumsum(1) - 1
        text_after = not_padding & ~vision & (vision_index == vision_index[:, -1:])
        return cls(vision, not_padding, fixed, text_after, vision_index, origin, not_padding.cumsum(1) - 1)

    @property
    def length(self) -> int:
        """Number of columns per row."""
        return self.vision.shape[1]

    def counts(self) -> tuple[list[int], list[int], int]:
        """Number of vision tokens and of fixed columns, per row, and length of the suffix that is fixed in all rows."""
        suffix = self.fixed.flip(1).int().cumprod(1).sum(1)
        n_vision, n_fixed, suffixes = torch.stack([self.vision.sum(1), self.fixed.sum(1), suffix]).tolist()
        return n_vision, n_fixed, min(suffixes)

    def flags_in(self, layout: Layout, name: str) -> Flags:
        """The flags called `name` for the columns of a layout; False in holes."""
        return getattr(self, name).gather(1, layout.index) & layout.valid

    def selected(self, layout: Layout) -> PromptColumns:
        """The columns of a layout only."""
        flags = {name: self.flags_in(layout, name) for name in ("vision", "not_padding", "fixed", "text_after")}
        numbers = {name: getattr(self, name).gather(1, layout.index) for name in ("vision_index", "origin", "place")}
        return PromptColumns(**flags, **numbers)

    def reordered(self, selection: Selection, candidates: Candidates, columns: Indices) -> PromptColumns:
        """The columns after a drop in which tokens were merged or changed their order.

        Args:
            selection: the method's selection; its `order` is not None.
            candidates: the candidates.
            columns: columns of the candidates.
        """
        places, valid = padded_columns(selection.keep, selection.order.shape[1])
        # Padding writes to an extra last column, which is removed again.
        to, order = torch.where(valid, columns.gather(1, places), self.length), selection.order
        origin = _write_candidates(self.origin, to, candidates.sequence.position, order)
        vision_index = _write_candidates(self.vision_index, to, candidates.vision_index, order)
        return replace(self, origin=origin, vision_index=vision_index)


def _write_candidates(
    old: Columns, to: Int[Tensor, "batch left"], values: Indices, order: Int[Tensor, "batch left"]
) -> Columns:
    """`old` with the values of the candidates `order` written to the columns `to`; -1 where `order` is -1."""
    new = values.gather(1, order.clamp(min=0)).masked_fill(order < 0, -1)
    return torch.cat([old, old[:, :1]], 1).scatter(1, to, new)[:, :-1]
