"""Hooks that hide vision tokens from deep layers during generation (DyCoke's second stage)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import Cache

from v2drop.budgets.counting import share_of
from v2drop.engine.contract import Hooks
from v2drop.models.calling import wants_flat_mask
from v2drop.models.parts import ModelParts
from v2drop.scoring.attention import apply_rotary, split_heads
from v2drop.scoring.selection import top_mask
from v2drop.sequence.cache_rows import FollowedLayer, follow_rows, followed_layer
from v2drop.types import Flags

UNCHANGED_FROM_COSINE = 0.9  # attention counts as unchanged if the cosine is at least this; value of the released code


class VisibleKeysHooks(Hooks):
    """Hides vision tokens from layer `layer` and all later ones, at each generated token anew.

    At each step, the new token's attention weights in layer `layer` - 1 are compared with those of the step before. If
    their cosine over the row's vision tokens is below 0.9, and at the first step, only the `share` of the vision tokens
    with the largest weights stays visible. Otherwise all of them are visible. The cache keeps all tokens, so no memory
    is saved. In a forward pass of several new tokens (a chunk, draft tokens), nothing is hidden.

    Args:
        layer: first layer from which tokens are hidden; 1 or more.
        share: share of a row's vision tokens that stays visible, in [0, 1].
    """

    reads_cache: ClassVar[bool] = True

    def __init__(self, layer: int, share: float) -> None:
        """Start with no notes; those of a prompt are on its cache (`follow_rows`), and follow its rows."""
        self._layer, self._share = layer, share
        self._entry_flags: tuple[Flags, Flags] | None = None  # vision tokens, and columns that are no padding
        self._query: Tensor | None = None
        self._hidden_keys: Bool[Tensor, "batch key"] | None = None

    def prefill_begins(self, vision: Flags, not_padding: Flags) -> None:
        """Record the flags of the prompt that enters layer 0."""
        self._entry_flags = vision, not_padding

    def pass_ends(self) -> None:
        """Let go of the tensors that belong to one forward pass."""
        self._entry_flags = self._query = self._hidden_keys = None

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook the self-attention of layer `layer` - 1, and all later layers."""
        attention = parts.layers[self._layer - 1].self_attn
        self._flat_mask = wants_flat_mask(parts.decoder)
        handles = [
            attention.q_proj.register_forward_hook(self._note_query),
            attention.register_forward_hook(self._compare_weights, with_kwargs=True),
        ]
        deep = parts.layers[self._layer :]
        return handles + [layer.register_forward_pre_hook(self._hide, with_kwargs=True) for layer in deep]

    def _note_query(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self._query = output

    def _compare_weights(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        cache = kwargs.get("past_key_values")
        if cache is None:
            return
        if self._entry_flags is not None:  # a prefill
            self._note_flags(follow_rows(cache), torch.stack(self._entry_flags, 1).to(self._query.device))
            follow_rows(cache).note((self, "weights"))
            return
        notes = followed_layer(cache)
        if notes is not None and (self, "flags") in notes.row_tensors and self._query.shape[1] == 1:
            self._hidden_keys = self._keys_to_hide(module, kwargs["position_embeddings"], cache)

    def _note_flags(self, notes: FollowedLayer, flags: Bool[Tensor, "batch 2 column"]) -> None:
        notes.note((self, "flags"), flags)
        notes.note((self, "n_vision"), flags[:, 0].sum(1).cpu())  # on the host: one transfer a prompt

    @torch.no_grad()
    def _keys_to_hide(
        self, module: nn.Module, angles: tuple[Tensor, Tensor], cache: Cache
    ) -> Bool[Tensor, "batch key"]:
        """Flags of the cached keys, vision tokens only, that later layers do not attend to at this step."""
        keys, notes = cache.layers[module.layer_idx].keys, follow_rows(cache)
        past = keys.shape[2] - 1
        if past < notes.row_tensors[self, "flags"].shape[2]:  # the cache was cropped; tokens added now are text
            self._note_flags(notes, notes.row_tensors[self, "flags"][..., :past])
        flags = notes.row_tensors[self, "flags"]
        vision, not_padding = torch.nn.functional.pad(flags, (0, past + 1 - flags.shape[2])).unbind(1)
        after_prompt = torch.arange(past + 1, device=vision.device) >= flags.shape[2]
        weights = _mean_weights(module, self._query, angles, keys, not_padding | after_prompt) * vision
        last_weights = notes.row_tensors.get((self, "weights"))
        notes.note((self, "weights"), weights)
        n_visible = [share_of(self._share, n) for n in notes.row_tensors[self, "n_vision"].tolist()]
        hidden = vision & ~top_mask(weights, vision, n_visible)
        if last_weights is None:
            return hidden
        width = min(last_weights.shape[1], weights.shape[1])  # the cache may have been cropped
        cosine = torch.cosine_similarity(weights[:, :width], last_weights[:, :width], dim=1)
        return hidden & ~(cosine >= UNCHANGED_FROM_COSINE)[:, None]

    def _hide(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict] | None:
        if self._hidden_keys is None:
            return None
        mask = _mask_without(kwargs.get("attention_mask"), self._hidden_keys, self._flat_mask)
        return args, kwargs | {"attention_mask": mask}


def _mean_weights(
    module: nn.Module, query: Tensor, angles: tuple[Tensor, Tensor], keys: Tensor, visible: Tensor
) -> Float[Tensor, "batch key"]:
    """Attention weights of one token on the cached keys, float32, mean over heads.

    Args:
        module: self-attention module.
        query: output of `q_proj`, [batch, 1, heads * head dim].
        angles: cosines and sines of the token's rotary angles.
        keys: cached keys, [batch, heads, keys, head dim].
        visible: flags of the keys that are no padding, [batch, keys].
    """
    cos, sin = (x[:, :, None] for x in angles)
    query = apply_rotary(split_heads(module, "q_norm", query), cos, sin)[:, 0]
    keys = keys.repeat_interleave(query.shape[1] // keys.shape[1], 1)
    logits = torch.einsum("bhd,bhkd->bhk", query.float(), keys.float()) * module.scaling
    return logits.masked_fill(~visible[:, None], -torch.inf).softmax(-1).mean(1)


def _mask_without(mask: Tensor | None, hidden: Bool[Tensor, "batch key"], flat: bool) -> Tensor:
    """A layer's attention mask without the hidden keys.

    Args:
        mask: the layer's mask: None, 2-D, or 4-D and boolean or additive.
        hidden: flags of the hidden keys.
        flat: whether the attention operator takes 2-D masks.
    """
    if mask is None and flat:
        return (~hidden).long()
    hidden = hidden if mask is None else hidden.to(mask.device)  # layers may be on several devices
    visible = ~hidden if mask is not None and mask.ndim == 2 else ~hidden[:, None, None]
    if mask is None or mask.dtype == torch.bool:
        return visible if mask is None else mask & visible
    if mask.ndim == 2:
        return mask * visible
    return mask.masked_fill(~visible, torch.finfo(mask.dtype).min)
