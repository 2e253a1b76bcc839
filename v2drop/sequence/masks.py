"""Attention masks of the remaining columns: slices of the model's own masks, and masks with sliding windows.

In a prefill, the model makes its masks for the full sequence, and they are sliced (`mask_for`). With sliding windows
that is not enough, because a window counts all positions of the caller's sequence, dropped tokens included. After the
prefill the model would count by the length of its caches, which is smaller (`mask_after_prefill`), and a drop at
layer 0 comes before the model makes any mask (`masks_at_entry`).
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
    queries: Queries, keys: Columns, valid: Flags, window: int | None
) -> Bool[Tensor, "batch 1 queries column"]:
    """Causal attention mask with an optional sliding window; True where a query may attend to a key.

    A query may always attend to itself, so that no row of the mask is empty.

    Args:
        queries: positions of the queries; they belong to the last columns of `keys`.
        keys: positions of the keys; any number in a hole.
        valid: flags of the keys that are neither padding nor holes.
        window: number of positions that a query looks back, itself included; None: all.

    >>> visible(torch.tensor([[4]]), torch.tensor([[0, 2, 3, 4]]), torch.ones(1, 4, dtype=torch.bool), 3)
    tensor([[[[False,  True,  True,  True]]]])
    """
    distance = queries[:, :, None] - keys[:, None]
    allowed = (distance >= 0) & valid[:, None]
    if window is not None:
        allowed = allowed & (distance < window)
    column = torch.arange(keys.shape[1], device=keys.device)
    itself = column == column[-queries.shape[1] :, None]
    return (allowed | itself)[:, None]


def masks_at_entry(
    parts: ModelParts, layout: Layout, not_padding: Bool[Tensor, "batch length"], dtype: torch.dtype
) -> Any:
    """Attention masks for the decoder's call after a drop at layer 0.

    Args:
        parts: modules of the model.
        layout: remaining columns of the caller's sequence.
        not_padding: flags of the caller's columns; False in padding.
        dtype: dtype of the hidden states.

    Returns:
        A dictionary from kind of layer to mask, if the decoder's config names the kinds of its layers; else one mask.
    """
    valid, kinds = (
        not_padding.gather(1, layout.index) & layout.valid,
        getattr(parts.decoder.config, "layer_types", None),
    )
    masks = {
        kind: as_operator_takes(parts, visible(layout.index, layout.index, valid, window), dtype)
        for kind, window in zip(kinds or [None] * len(parts.sliding_windows), parts.sliding_windows, strict=True)
    }
    return masks if kinds else masks[None]


def mask_after_prefill(
    position: Columns, valid: Flags, not_padding: Flags, n_new: int, total: int, mask: Any, window: int | None
) -> Bool[Tensor, "batch 1 queries column"]:
    """Boolean attention mask of one layer for tokens after the prefill.

    Args:
        position: positions of the layer's keys in the caller's sequence; the new tokens come last.
        valid: flags of the keys that are no holes.
        not_padding: flags of the keys that were no padding in the prompt, for a call without a mask.
        n_new: number of new tokens.
        total: number of tokens in the caller's sequence so far, new ones included.
        mask: the caller's 2-D mask of all tokens so far, [batch, total]; None: no padding besides the prompt's.
        window: number of positions that the layer looks back, the token itself included; None: all.

    Raises:
        ValueError: the mask is not 2-D, or does not cover all tokens so far.
    """
    if mask is None:
        valid = valid & not_padding
    else:
        if not isinstance(mask, Tensor) or mask.shape != (len(position), total):
            raise ValueError(
                f"attention_mask must be None or [{len(position)}, {total}], all tokens so far, for a decoder with "
                f"sliding windows; got {list(getattr(mask, 'shape', mask))}."
            )
        valid = valid & mask.to(position.device).bool().gather(1, position)
    return visible(position[:, -n_new:], position, valid, window)


def as_operator_takes(parts: ModelParts, mask: Bool[Tensor, "*shape"], dtype: torch.dtype) -> Shaped[Tensor, "*shape"]:
    """Convert a boolean mask to the form that the attention operator takes: additive for eager attention, else boolean.

    Args:
        parts: modules of the model.
        mask: boolean mask; True where attention is allowed.
        dtype: dtype of an additive mask.
    """
    if parts.decoder.config._attn_implementation != "eager":
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def mask_for(
    mask: Tensor | None, queries: Layout, keys: Layout, past: int, flat: bool
) -> Bool[Tensor, "batch ..."] | Float[Tensor, "batch ..."] | Int[Tensor, "batch ..."] | None:
    """The model's own attention mask, sliced to the remaining queries and keys.

    Args:
        mask: mask that the model made for the full sequence: None (causal), 2-D [batch, keys] (FlashAttention) or
            4-D [batch or 1, heads, queries, keys], boolean (True: attend) or additive.
        queries: columns of this forward pass, counted from `past`.
        keys: columns of the cache and of this forward pass, counted from 0.
        past: number of tokens of the full sequence before this forward pass.
        flat: whether the attention operator takes 2-D masks.

    Returns:
        The mask of the remaining columns, in the form of `mask`. Without `mask`: None if there are no holes; with
        holes, a 2-D integer mask if `flat`, else a 4-D boolean mask.
    """
    if mask is None and not keys.holes:
        return None
    if mask is None and flat:
        return keys.valid.long()
    if mask is None:
        mask = _causal(past, keys)
    key_index, valid, query_index = (t.to(mask.device) for t in (keys.index, keys.valid, queries.index))
    if mask.ndim == 2:
        return mask.gather(1, key_index) * valid
    heads = mask.shape[1]
    rows = mask.expand(len(key_index), -1, -1, -1)
    rows = rows.gather(2, query_index[:, None, :, None].expand(-1, heads, -1, rows.shape[3]))
    sliced = rows.gather(3, key_index[:, None, None, :].expand(-1, heads, rows.shape[2], -1))
    if not keys.holes:
        return sliced
    blocked = False if sliced.dtype == torch.bool else torch.finfo(sliced.dtype).min
    return sliced.masked_fill(~valid[:, None, None, :], blocked)


def _causal(past: int, keys: Layout) -> Bool[Tensor, "1 1 query key"]:
    # The last column is never dropped, so the last key is the last position of the full sequence.
    key = torch.arange(int(keys.index[0, -1]) + 1, device=keys.index.device)
    return (key <= key[past:, None])[None, None]
