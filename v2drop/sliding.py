"""Masks of decoders that have layers with a sliding window, where the model cannot make them itself.

A window counts positions of the whole sequence, those of tokens that are gone among them. In a prefill the model makes
its masks of the whole sequence, and they are cut. After it the model goes by the length of its caches, which is no
count of positions any more, and a drop at layer 0 comes before any mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from v2drop.layout import Layout
from v2drop.models import Parts
from v2drop.types import Columns, Flags, Queries

if TYPE_CHECKING:
    from v2drop.prompt import Prompt


def visible(
    queries: Queries, keys: Columns, there: Flags, window: int | None
) -> Bool[Tensor, "batch 1 queries column"]:
    """Who may attend to whom.

    Args:
        queries: positions of the last columns.
        keys: positions of all columns; a hole's may be another's.
        there: keys that are neither padding nor holes.
        window: how many positions back a query sees, itself included; None: all.

    >>> visible(torch.tensor([[4]]), torch.tensor([[0, 2, 3, 4]]), torch.ones(1, 4, dtype=torch.bool), 3)
    tensor([[[[False,  True,  True,  True]]]])
    """
    back = queries[:, :, None] - keys[:, None]
    seen = (back >= 0) & there[:, None]
    if window is not None:
        seen = seen & (back < window)
    column = torch.arange(keys.shape[1], device=keys.device)
    itself = column == column[-queries.shape[1] :, None]
    return (seen | itself)[:, None]  # so that no row is empty


def at_entry(parts: Parts, layout: Layout, present: Bool[Tensor, "batch length"], dtype: torch.dtype) -> Any:
    """The masks that a decoder is called with after a drop at layer 0: by kind of layer, or one if it knows one kind.

    Args:
        parts: of the model.
        layout: what is left of the caller's sequence.
        present: the caller's columns that are no padding.
        dtype: of the states.
    """
    there, kinds = present.gather(1, layout.index) & layout.real, getattr(parts.decoder.config, "layer_types", None)
    made = {
        kind: fitting(parts, visible(layout.index, layout.index, there, window), dtype)
        for kind, window in zip(kinds or [None] * len(parts.windows), parts.windows, strict=True)
    }
    return made if kinds else made[None]


def after_prefill(
    prompt: Prompt, keys: Layout, n_new: int, total: int, mask: Any, window: int | None
) -> Bool[Tensor, "batch 1 queries column"]:
    """Whom the newest tokens see at one layer.

    Args:
        prompt: that filled the cache.
        keys: what the layer's cache holds, and the new tokens at its end.
        n_new: how many.
        total: tokens of the caller's sequence so far, known without asking the device.
        mask: 2-D, of all the caller's tokens so far; None: nothing is padded but what the prompt said.
        window: of the layer.

    Raises:
        ValueError: the mask is not of all tokens so far.
    """
    inside, column = keys.index < prompt.length, keys.index.clamp(max=prompt.length - 1)
    position, there = keys.index, prompt.present.gather(1, column) | ~inside
    if prompt.entry is not None:
        later = position + prompt.shortened
        position = torch.where(inside, prompt.entry.layout.index.gather(1, column), later)
    if mask is not None:
        if not isinstance(mask, Tensor) or mask.shape != (len(position), total):
            raise ValueError(
                f"attention_mask must be None or [{len(position)}, {total}], all tokens so far, for a decoder with "
                f"sliding windows; got {list(getattr(mask, 'shape', mask))}."
            )
        there = there & mask.to(position.device).bool().gather(1, position)
    return visible(position[:, -n_new:], position, there & keys.real, window)


def fitting(parts: Parts, mask: Bool[Tensor, "*shape"], dtype: torch.dtype) -> Shaped[Tensor, "*shape"]:
    """A mask as the attention operator takes it: boolean, or additive for the eager one."""
    if parts.decoder.config._attn_implementation != "eager":
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
