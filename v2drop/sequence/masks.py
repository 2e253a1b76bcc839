"""Masks of decoders that have layers with a sliding window, where the model cannot make them itself.

A window counts positions of the whole sequence, those of tokens that are gone among them. In a prefill the model makes
its masks of the whole sequence, and they are cut. After it the model goes by the length of its caches, which is no
count of positions any more, and a drop at layer 0 comes before any mask.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from v2drop.models.parts import ModelParts
from v2drop.sequence.layout import Layout
from v2drop.types import Columns, Flags, Queries


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


def masks_at_entry(parts: ModelParts, layout: Layout, present: Bool[Tensor, "batch length"], dtype: torch.dtype) -> Any:
    """The masks that a decoder is called with after a drop at layer 0: by kind of layer, or one if it knows one kind.

    Args:
        parts: of the model.
        layout: what is left of the caller's sequence.
        present: the caller's columns that are no padding.
        dtype: of the states.
    """
    there, kinds = present.gather(1, layout.index) & layout.valid, getattr(parts.decoder.config, "layer_types", None)
    made = {
        kind: as_operator_takes(parts, visible(layout.index, layout.index, there, window), dtype)
        for kind, window in zip(kinds or [None] * len(parts.sliding_windows), parts.sliding_windows, strict=True)
    }
    return made if kinds else made[None]


def mask_after_prefill(
    position: Columns, valid: Flags, n_new: int, total: int, mask: Any, window: int | None
) -> Bool[Tensor, "batch 1 queries column"]:
    """The mask of one layer for tokens after the prefill.

    Args:
        position: positions of the layer's keys in the caller's sequence, the new tokens at the end.
        valid: keys that are neither padding nor holes.
        n_new: number of new tokens.
        total: number of tokens in the caller's sequence so far, known without asking the device.
        mask: the caller's 2-D mask of all tokens so far; None: nothing is padded but what the prompt said.
        window: number of positions that the layer looks back; None: all.

    Raises:
        ValueError: the mask is not of all tokens so far.
    """
    if mask is not None:
        if not isinstance(mask, Tensor) or mask.shape != (len(position), total):
            raise ValueError(
                f"attention_mask must be None or [{len(position)}, {total}], all tokens so far, for a decoder with "
                f"sliding windows; got {list(getattr(mask, 'shape', mask))}."
            )
        valid = valid & mask.to(position.device).bool().gather(1, position)
    return visible(position[:, -n_new:], position, valid, window)


def as_operator_takes(parts: ModelParts, mask: Bool[Tensor, "*shape"], dtype: torch.dtype) -> Shaped[Tensor, "*shape"]:
    """A mask as the attention operator takes it: boolean, or additive for the eager one."""
    if parts.decoder.config._attn_implementation != "eager":
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def mask_for(
    mask: Tensor | None, queries: Layout, keys: Layout, past: int, flat: bool
) -> Bool[Tensor, "batch ..."] | Float[Tensor, "batch ..."] | Int[Tensor, "batch ..."] | None:
    """The model's own attention mask, cut to the remaining queries and keys.

    Args:
        mask: what the model made for the full sequence: None (plain causal), 2-D [batch, keys] (flash operators) or
            4-D [batch or 1, heads, queries, keys], boolean (True: attend) or additive.
        queries: columns of this forward pass, counted from `past`.
        keys: columns of cache and forward pass, counted from the start.
        past: full-sequence tokens before this forward pass.
        flat: whether the attention operator wants a 2-D mask where one has to be made.
    """
    if mask is None and not keys.holes:
        return None
    if mask is None and flat:
        return keys.valid.long()
    if mask is None:
        mask = _causal(past, keys)
    to, valid, asked = (t.to(mask.device) for t in (keys.index, keys.valid, queries.index))
    if mask.ndim == 2:
        return mask.gather(1, to) * valid
    heads = mask.shape[1]
    rows = mask.expand(len(to), -1, -1, -1)
    rows = rows.gather(2, asked[:, None, :, None].expand(-1, heads, -1, rows.shape[3]))
    cut = rows.gather(3, to[:, None, None, :].expand(-1, heads, rows.shape[2], -1))
    if not keys.holes:
        return cut
    never = False if cut.dtype == torch.bool else torch.finfo(cut.dtype).min
    return cut.masked_fill(~valid[:, None, None, :], never)


def _causal(past: int, keys: Layout) -> Bool[Tensor, "1 1 query key"]:
    # No layout loses its last column, so the last position is the full sequence's last.
    key = torch.arange(int(keys.index[0, -1]) + 1, device=keys.index.device)
    return (key <= key[past:, None])[None, None]
