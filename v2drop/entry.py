"""What a drop at layer 0 left of the caller's sequence, and how tokens after the prompt join on to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from v2drop import checks
from v2drop.layout import Layout, gone, mask_for, take


@dataclass(frozen=True)
class Entry:
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
    end: Tensor
    moved: Int[Tensor, "batch 1"] | None

    @classmethod
    def made(
        cls,
        layout: Layout,
        kwargs: dict,
        position: Int[Tensor, "batch length"],
        present: Bool[Tensor, "batch length"],
        repack: bool,
    ) -> tuple[Entry, dict]:
        """The entry, and the decoder's arguments for it but for the embeddings.

        Args:
            layout: what is left.
            kwargs: the decoder's arguments.
            position: ids of the caller's columns where the arguments hold none.
            present: the caller's columns that are no padding.
            repack: close the gaps in position ids.

        Raises:
            ValueError: position ids say that several sequences are packed into a row.
        """
        mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
        flat = layout.real.long()
        if mask is not None and mask.ndim == 2:
            flat = mask.gather(1, layout.index) * layout.real
        if mask is None and positions is not None and (positions.diff(dim=-1) != 1).any():
            raise ValueError(
                "position_ids without an attention_mask must ascend by one if tokens are dropped at layer 0."
            )
        # Always a mask: without one, transformers takes gaps in position ids for packed sequences.
        four = mask is not None and mask.ndim == 4
        mask = mask_for(mask, layout, layout, 0, flat=False) if four else flat
        positions = position[:1] if positions is None else positions
        before, moved = gone(layout, present) if repack else (None, None)
        entry = cls(layout, present.shape[1], flat, positions[..., -1:] + 1, moved)
        positions = take(positions, layout.index)
        positions = positions if before is None else (positions - before).clamp(min=0)
        return entry, kwargs | {"attention_mask": mask, "position_ids": positions}

    def continued(self, kwargs: dict, seen: int) -> dict:
        """The decoder's arguments for tokens after the prefill.

        Args:
            kwargs: the decoder's arguments.
            seen: tokens since the prompt that the cache holds already.

        Raises:
            ValueError: the caller's mask or position ids do not fit all tokens so far.
        """
        mask, n_new = kwargs.get("attention_mask"), checks.tensor(kwargs).shape[1]
        rows = len(self.layout.index)
        width = self.length + seen + n_new
        if mask is None:
            mask = self.mask.new_ones(rows, width)
        if mask.shape != (rows, width):
            raise ValueError(
                f"after a drop at layer 0 attention_mask must be None or [{rows}, {width}], all tokens so far; got "
                f"{list(mask.shape)}. `generate` cannot go on with such a cache: drop at layer 1 or later."
            )
        start, positions = self.end + seen, kwargs.get("position_ids")
        if positions is None:
            positions = start + torch.arange(n_new, device=start.device)
        elif n_new > 1 and (positions[..., :1] != start).any():
            raise ValueError(
                "after a drop at layer 0 position_ids must go on where the tokens so far end, "
                f"{start.flatten().tolist()}; got {positions[..., 0].flatten().tolist()}. `generate` cannot go on with "
                "such a cache, whose length it takes for the number of tokens: drop at layer 1 or later."
            )
        positions = positions if self.moved is None else positions - self.moved
        mask = torch.cat([self.mask.to(mask), mask[:, self.length :]], 1)
        return kwargs | {"attention_mask": mask, "position_ids": positions}
