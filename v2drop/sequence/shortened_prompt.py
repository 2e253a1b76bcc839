"""What a drop at layer 0 left of the caller's sequence, and how tokens after the prompt join on to it."""

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
    """The sequence that enters layer 0.

    Attributes:
        layout: its columns in the caller's sequence.
        length: of the caller's sequence.
        mask: 2-D, of what is left.
        end: the position id that comes next in the caller's count.
        moved: how far position ids behind the prompt move down, per row; None if they are kept.
    """

    layout: Layout
    length: int
    mask: Tensor
    next_position: Tensor
    position_shift: Int[Tensor, "batch 1"] | None

    @classmethod
    def from_drop(
        cls,
        layout: Layout,
        kwargs: dict,
        position: Int[Tensor, "batch length"],
        present: Bool[Tensor, "batch length"],
        repack: bool,
        parts: ModelParts,
        dtype: torch.dtype,
    ) -> tuple[ShortenedPrompt, dict]:
        """The entry, and the decoder's arguments for it but for the embeddings.

        Args:
            layout: what is left.
            kwargs: the decoder's arguments.
            position: ids of the caller's columns where the arguments hold none.
            present: the caller's columns that are no padding.
            repack: close the gaps in position ids.
            parts: of the model.
            dtype: of the states.

        Raises:
            ValueError: position ids say that several sequences are packed into a row.
        """
        positions = kwargs.get("position_ids")
        _check_unpacked(kwargs.get("attention_mask"), positions)
        flat = (present.gather(1, layout.index) & layout.valid).long()
        masks = _masks(kwargs.get("attention_mask"), flat, layout, present, parts, dtype)
        positions = position[:1] if positions is None else positions
        before, position_shift = dropped_before(layout, present) if repack else (None, None)
        entry = cls(layout, present.shape[1], flat, _end(positions), position_shift)
        positions = _taken(positions, layout)
        positions = positions if before is None else (positions - before).clamp(min=0)
        return entry, kwargs | {"attention_mask": masks, "position_ids": positions}

    def extend(self, kwargs: dict, seen: int, mask: Any, counts_by_cache: bool) -> dict:
        """The decoder's arguments for tokens after the prefill.

        Args:
            kwargs: the decoder's arguments.
            seen: tokens since the prompt that the cache holds already.
            mask: the attention mask that the model was called with; the decoder's own may have the cache's length.
            counts_by_cache: whether the model was given no position ids, and counts by the first layer's cache.

        Raises:
            ValueError: the caller's mask or position ids do not fit all tokens so far.
        """
        n_new = decoder_input(kwargs).shape[1]
        rows = len(self.layout.index)
        width = self.length + seen + n_new
        if mask is None:
            mask = self.mask.new_ones(rows, width)
        if not isinstance(mask, Tensor) or mask.shape != (rows, width):
            raise ValueError(
                f"after a drop at layer 0 attention_mask must be None or [{rows}, {width}], all tokens so far; got "
                f"{list(getattr(mask, 'shape', mask))}. `generate` cannot go on with such a "
                "cache: drop at layer 1 or later."
            )
        start, positions = self.next_position + seen, kwargs.get("position_ids")
        if positions is None or counts_by_cache:
            positions = start + torch.arange(n_new, device=start.device)
        elif n_new > 1 and (_placed(positions)[..., :1] != start).any():
            raise ValueError(
                "after a drop at layer 0 position_ids must go on where the tokens so far end, "
                f"{start.flatten().tolist()}; got {positions[..., 0].tolist()}. `generate` cannot go on with "
                "such a cache, whose length it takes for the number of tokens: drop at layer 1 or later."
            )
        positions = positions if self.position_shift is None else positions - self.position_shift
        mask = torch.cat([self.mask.to(mask), mask[:, self.length :]], 1)
        return kwargs | {"attention_mask": mask, "position_ids": positions}


def _check_unpacked(mask: Any, positions: Tensor | None) -> None:
    if positions is not None and positions.ndim == 3:  # M-RoPE: only a fourth axis, of text, tells packed sequences
        positions = positions[0] if len(positions) == 4 else None
    if mask is None and positions is not None and (positions.diff(dim=-1) != 1).any():
        raise ValueError("position_ids without an attention_mask must ascend by one if tokens are dropped at layer 0.")


def _masks(mask: Any, flat: Tensor, layout: Layout, present: Tensor, parts: ModelParts, dtype: torch.dtype) -> Any:
    """What the decoder is called with: always a mask, for without one transformers takes gaps for packed sequences."""
    if isinstance(mask, dict):
        return {kind: mask_for(one, layout, layout, 0, flat=False) for kind, one in mask.items()}
    if mask is not None and mask.ndim == 4:
        return mask_for(mask, layout, layout, 0, flat=False)
    return masks_at_entry(parts, layout, present, dtype) if any(parts.sliding_windows) else flat


def _taken(positions: Tensor, layout: Layout) -> Tensor:
    if positions.ndim == 2:
        return gather_columns(positions, layout.index)
    return torch.stack([gather_columns(axis, layout.index) for axis in positions])


def _placed(positions: Tensor) -> Tensor:
    """Without the fourth axis, of text, that M-RoPE's places may have before them."""
    return positions if positions.ndim == 2 else positions[-3:]


def _end(positions: Tensor) -> Tensor:
    """The position id that comes next: behind the last column's, or, of three axes, behind the largest."""
    return (positions[..., -1:] if positions.ndim == 2 else _placed(positions).amax((0, 2))[:, None]) + 1
