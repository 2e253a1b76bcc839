"""DyCoke's second stage: while generating, deep layers attend to the vision tokens that are looked at now."""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

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
from v2drop.types import Flags

UNCHANGED_FROM_COSINE = 0.9  # cosine from which on attention counts as unchanged, in the released code


class VisibleKeysHooks(Hooks):
    """Hides vision tokens from the layers from `layer` on, one generated token after the other.

    At every step the new token's attention in layer - 1 is compared with that of the step before. Where its cosine over
    the row's vision tokens is below 0.9 (and at the first step) the `share` of them with the largest weights is seen,
    else all of them. The cache holds all of them throughout, so no memory is saved. Tokens that come several at a time
    (a chunk, drafts) see all of them.
    """

    reads_cache: ClassVar[bool] = True

    def __init__(self, layer: int, share: float) -> None:
        """See `DyCoke`."""
        self._layer, self._share = layer, share
        self._entering: tuple[Flags, Flags] | None = None
        self._vision: WeakKeyDictionary[Cache, tuple[Flags, Flags]] = WeakKeyDictionary()  # and what is no padding
        self._counts: WeakKeyDictionary[Cache, list[int]] = WeakKeyDictionary()  # asked of the device once a prompt
        self._before: WeakKeyDictionary[Cache, Tensor] = WeakKeyDictionary()
        self._query: Tensor | None = None
        self._hidden: Bool[Tensor, "batch key"] | None = None

    def prefill_begins(self, vision: Flags, not_padding: Flags) -> None:
        """These columns enter layer 0."""
        self._entering = vision, not_padding

    def pass_ends(self) -> None:
        """Let go of what belongs to one forward pass."""
        self._entering = self._query = self._hidden = None

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On the self-attention of the layer before, and on all layers from there on."""
        attention = parts.layers[self._layer - 1].self_attn
        self._flat = wants_flat_mask(parts.decoder)
        handles = [
            attention.q_proj.register_forward_hook(self._note),
            attention.register_forward_hook(self._look, with_kwargs=True),
        ]
        deep = parts.layers[self._layer :]
        return handles + [layer.register_forward_pre_hook(self._hide, with_kwargs=True) for layer in deep]

    def _note(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self._query = output

    def _look(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        cache = kwargs.get("past_key_values")
        if cache is None:
            return
        if self._entering is not None:  # the prompt itself
            at = self._query.device
            self._vision[cache] = tuple(flags.to(at) for flags in self._entering)
            self._counts[cache] = self._entering[0].sum(1).tolist()
            self._before.pop(cache, None)
        elif cache in self._vision and self._query.shape[1] == 1:
            self._hidden = self._chosen(module, kwargs["position_embeddings"], cache)

    @torch.no_grad()
    def _chosen(self, module: nn.Module, angles: tuple[Tensor, Tensor], cache: Cache) -> Bool[Tensor, "batch key"]:
        """The vision tokens that nobody deep will see at this step."""
        keys = cache.layers[module.layer_idx].keys
        past = keys.shape[2] - 1
        if past < self._vision[cache][0].shape[1]:  # the cache was cropped: what comes now is no vision token
            self._vision[cache] = tuple(flags[:, :past] for flags in self._vision[cache])
            self._counts[cache] = self._vision[cache][0].sum(1).tolist()
        length = self._vision[cache][0].shape[1]
        vision, present = (_grown(flags, past + 1) for flags in self._vision[cache])
        since = torch.arange(past + 1, device=vision.device) >= length
        looked = _weights(module, self._query, angles, keys, present | since) * vision
        before = self._before.get(cache)
        self._before[cache] = looked
        left = [share_of(self._share, n) for n in self._counts[cache]]
        hidden = vision & ~top_mask(looked, vision, left)
        if before is None:
            return hidden
        same = min(before.shape[1], looked.shape[1])  # a cache may have been cropped
        alike = torch.cosine_similarity(looked[:, :same], before[:, :same], dim=1) >= UNCHANGED_FROM_COSINE
        return hidden & ~alike[:, None]

    def _hide(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict] | None:
        if self._hidden is None:
            return None
        return args, kwargs | {"attention_mask": _without(kwargs.get("attention_mask"), self._hidden, self._flat)}


def _grown(flags: Flags, length: int) -> Tensor:
    """Flags of the prompt, False for what came since."""
    return torch.nn.functional.pad(flags, (0, length - flags.shape[1]))


def _weights(
    module: nn.Module, query: Tensor, angles: tuple[Tensor, Tensor], keys: Tensor, seen: Tensor
) -> Float[Tensor, "batch key"]:
    """Weights, float32, mean over heads, with which one token attends to cached keys [batch, heads, key, angle]."""
    cos, sin = (x[:, :, None] for x in angles)
    query = apply_rotary(split_heads(module, "q_norm", query), cos, sin)[:, 0]
    keys = keys.repeat_interleave(query.shape[1] // keys.shape[1], 1)
    logits = torch.einsum("bhd,bhkd->bhk", query.float(), keys.float()) * module.scaling
    return logits.masked_fill(~seen[:, None], -torch.inf).softmax(-1).mean(1)


def _without(mask: Tensor | None, hidden: Bool[Tensor, "batch key"], flat: bool) -> Tensor:
    """A layer's attention mask, of any form, without some keys; `flat`: the operator takes 2-D masks."""
    if mask is None and flat:
        return (~hidden).long()
    hidden = hidden if mask is None else hidden.to(mask.device)  # of layers that may be on another
    seen = ~hidden if mask is not None and mask.ndim == 2 else ~hidden[:, None, None]
    if mask is None or mask.dtype == torch.bool:
        return seen if mask is None else mask & seen
    if mask.ndim == 2:
        return mask * seen
    return mask.masked_fill(~seen, torch.finfo(mask.dtype).min)
