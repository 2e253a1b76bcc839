"""The sequence after a drop at layer 0, and the arguments of later tokens that continue it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from v2drop.models.calling import decoder_input
from v2drop.models.parts import ModelParts
from v2drop.scoring.selection import gather_columns
from v2drop.sequence.layout import Layout, dropped_before
from v2drop.sequence.masks import mask_for, masks_at_entry


@dataclass(frozen=True)
class ShortenedPrompt:
    """The sequence after a drop at layer 0, which enters layer 0 in place of the caller's.

    Attributes:
        layout: its columns in the caller's sequence.
        callers_length: number of columns of the caller's sequence.
        mask: its 2-D attention mask, [batch, columns]; 0 in padding and holes.
        next_position: position id after the caller's last column, [rows or 1, 1].
        position_shift: amount by which position ids after the prompt move down, per row; None if they are kept.
    """

    layout: Layout
    callers_length: int
    mask: Tensor
    next_position: Tensor
    position_shift: Int[Tensor, "batch 1"] | None

    @classmethod
    def from_drop(
        cls,
        layout: Layout,
        kwargs: dict,
        position: Int[Tensor, "batch length"],
        not_padding: Bool[Tensor, "batch length"],
        repack: bool,
        parts: ModelParts,
        dtype: torch.dtype,
    ) -> tuple[ShortenedPrompt, dict]:
        """Shorten the caller's sequence.

        Args:
            layout: remaining columns of the caller's sequence.
            kwargs: the decoder's arguments.
            position: position ids of the caller's columns, used if the arguments hold none.
            not_padding: flags of the caller's columns; False in padding.
            repack: whether gaps in position ids are closed.
            parts: modules of the model.
            dtype: dtype of the hidden states.

        Returns:
            The shortened prompt, and the decoder's arguments for it, all but the embeddings.

        Raises:
            ValueError: position ids do not ascend by one and there is no attention mask: transformers would take them
                for several sequences packed into a row.
        """
        positions = kwargs.get("position_ids")
        _check_not_packed(kwargs.get("attention_mask"), positions)
        flat = (not_padding.gather(1, layout.index) & layout.valid).long()
        masks = _masks(kwargs.get("attention_mask"), flat, layout, not_padding, parts, dtype)
        positions = position[:1] if positions is None else positions
        before, position_shift = dropped_before(layout, not_padding) if repack else (None, None)
        shortened = cls(layout, not_padding.shape[1], flat, _next_position(positions), position_shift)
        positions = _gather_positions(positions, layout)
        positions = positions if before is None else (positions - before).clamp(min=0)
        return shortened, kwargs | {"attention_mask": masks, "position_ids": positions}

    def of_rows(self, rows: Int[Tensor, " rows"]) -> ShortenedPrompt:
        """The prompt for other rows, each one of this prompt's."""
        n_rows, shift = len(self.mask), self.position_shift
        following = self.next_position.expand(n_rows, 1)[rows]
        shift = None if shift is None else shift[rows]
        return ShortenedPrompt(self.layout.of_rows(rows), self.callers_length, self.mask[rows], following, shift)

    def extend(self, kwargs: dict, n_later: int, mask: Any, counts_by_cache: bool) -> dict:
        """The decoder's arguments for tokens after the prefill.

        Args:
            kwargs: the decoder's arguments.
            n_later: number of tokens after the prompt that the cache already holds.
            mask: attention mask that the model was called with; the decoder's own may be as short as the cache.
            counts_by_cache: whether the model was called without position ids and counts the tokens in the first
                layer's cache instead.

        Raises:
            ValueError: the caller's mask or position ids do not fit all tokens so far.
        """
        n_new = decoder_input(kwargs).shape[1]
        rows = len(self.layout.index)
        width = self.callers_length + n_later + n_new
        if mask is None:
            mask = self.mask.new_ones(rows, width)
        if not isinstance(mask, Tensor) or mask.shape != (rows, width):
            raise ValueError(
                f"after a drop at layer 0 attention_mask must be None or [{rows}, {width}], all tokens so far; got "
                f"{list(getattr(mask, 'shape', mask))}. `generate` cannot go on with such a "
                "cache: drop at layer 1 or later."
            )
        start, positions = self.next_position + n_later, kwargs.get("position_ids")
        if positions is None or counts_by_cache:
            positions = start + torch.arange(n_new, device=start.device)
        elif n_new > 1 and (_without_text_axis(positions)[..., :1] != start).any():
            raise ValueError(
                "after a drop at layer 0 position_ids must go on where the tokens so far end, "
                f"{start.flatten().tolist()}; got {positions[..., 0].tolist()}. `generate` cannot go on with "
                "such a cache, whose length it takes for the number of tokens: drop at layer 1 or later."
            )
        positions = positions if self.position_shift is None else positions - self.position_shift
        mask = torch.cat([self.mask.to(mask), mask[:, self.callers_length :]], 1)
        return kwargs | {"attention_mask": mask, "position_ids": positions}


def _check_not_packed(mask: Any, positions: Tensor | None) -> None:
    if positions is not None and positions.ndim == 3:  # M-RoPE: only the extra axis of text ids shows packed sequences
        positions = positions[0] if len(positions) == 4 else None
    if mask is None and positions is not None and (positions.diff(dim=-1) != 1).any():
        raise ValueError("position_ids without an attention_mask must ascend by one if tokens are dropped at layer 0.")


def _masks(mask: Any, flat: Tensor, layout: Layout, not_padding: Tensor, parts: ModelParts, dtype: torch.dtype) -> Any:
    """The decoder's attention mask, never None: without a mask, transformers takes gaps for packed sequences."""
    if isinstance(mask, dict):
        return {kind: mask_for(kind_mask, layout, layout, 0, flat=False) for kind, kind_mask in mask.items()}
    if mask is not None and mask.ndim == 4:
        return mask_for(mask, layout, layout, 0, flat=False)
    return masks_at_entry(parts, layout, not_padding, dtype) if any(parts.sliding_windows) else flat


def _gather_positions(positions: Tensor, layout: Layout) -> Tensor:
    """Position ids of the remaining columns; [batch, length], or with axes in front, [axes, batch, length]."""
    if positions.ndim == 2:
        return gather_columns(positions, layout.index)
    return torch.stack([gather_columns(axis, layout.index) for axis in positions])


def _without_text_axis(positions: Tensor) -> Tensor:
    """Position ids without the axis of text ids that may come before M-RoPE's axes of time, height and width."""
    return positions if positions.ndim == 2 else positions[-3:]


def _next_position(positions: Tensor) -> Tensor:
    """The position id after the last column's; with three axes (M-RoPE), after the largest."""
    return (positions[..., -1:] if positions.ndim == 2 else _without_text_axis(positions).amax((0, 2))[:, None]) + 1
