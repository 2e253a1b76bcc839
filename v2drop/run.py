"""One forward pass over a narrowed sequence: what each layer is given in place of the model's own arguments."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from inspect import signature
from typing import Any

from torch import Tensor
from transformers import Cache

from v2drop import sliding
from v2drop.checks import wants_flat_mask
from v2drop.layout import Layout, mask_for, take
from v2drop.models import Parts
from v2drop.prompt import Prompt


class Run:
    """Columns that are queries and keys at the layer that runs now.

    Attributes:
        queries: the columns of this pass that are still there.
        keys: the columns its keys come from, cached ones included; None as long as nothing was dropped.
        past: tokens in the first layer's cache before this pass; 0 in a prefill.
        moved: how far the position ids of the queries move down; None if they are kept.
    """

    def __init__(self, prompt: Prompt, parts: Parts, past: int = 0, mask: Any = None) -> None:
        """Start with everything there; `mask` is what the model was called with."""
        self.queries, self.past = prompt.everything, past
        self.keys: Layout | None = None
        self.moved: Tensor | None = None
        self._prompt, self._parts, self._mask = prompt, parts, mask
        self._flat_mask = wants_flat_mask(parts.decoder)
        self._cut: dict[tuple[str, Hashable], tuple[Any, Any]] = {}

    def narrow(self, layout: Layout, moved: Tensor | None) -> None:
        """From here on, a prefill goes on with `layout`."""
        self.queries = self.keys = layout
        self.moved = moved
        self._cut.clear()

    def follow(self, layer: int, n_new: int) -> None:
        """After a prefill, take up what the layer's cache holds: what was left of the prompt, and all tokens since."""
        if layer not in self._prompt.held:
            return
        held, ran = self._prompt.held[layer]
        self.queries = Layout.full(len(held.index), n_new, held.index.device)
        # A cache that was cropped has lost the end of the prompt, which is text in every layer (`Prompt.tail`).
        lost = max(0, self._prompt.length - self.past)
        self.keys = held.without_last(lost).extended(self._prompt.length - lost, self.past + n_new)
        self.moved = self._prompt.moved(ran)[1]
        self._cut.clear()

    def cut(self, layer: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer's keyword arguments, cut to the columns that are there."""
        angles = kwargs.get("position_embeddings")
        if self.past and any(self._parts.windows):
            mask = self._windowed(layer, kwargs["past_key_values"], angles)
        else:
            mask = self._once("mask", kwargs.get("attention_mask"), self._cut_mask)
        kwargs = kwargs | {"attention_mask": mask}
        if not self.past or self.moved is not None:  # after the prefill nothing is dropped from the queries
            kwargs["position_ids"] = ids = self._once("ids", kwargs.get("position_ids"), self._positions)
            turned = self._once("angles", angles, lambda angles: self._angles(layer, ids, angles))
            kwargs["position_embeddings"] = turned
        return kwargs

    def _once(self, name: str, value: Any, make: Callable) -> Any:
        # Layer after layer is handed the same tensors. They are kept beside their cut, so that no id is used twice.
        key = name, id(value)
        if key not in self._cut:
            self._cut[key] = value, make(value)
        return self._cut[key][1]

    def _cut_mask(self, mask: Tensor | None) -> Tensor | None:
        return mask_for(mask, self.queries, self.keys, self.past, self._flat_mask)

    def _windowed(self, layer: int, cache: Cache, angles: tuple[Tensor, Tensor]) -> Tensor:
        """The mask of a layer after the prefill, in a decoder with windows; caches may hold no more than these."""
        n_new, window = self.queries.width, self._parts.windows[layer]
        width = cache.layers[layer].get_mask_sizes(n_new)[0]
        key = "window", (window, width)
        if key not in self._cut:
            keys, total = self.keys.last(width), self.past + n_new + self._prompt.shortened
            made = sliding.after_prefill(self._prompt, keys, n_new, total, self._mask, window)
            self._cut[key] = None, sliding.fitting(self._parts, made, angles[0].dtype)
        return self._cut[key][1]

    def _positions(self, ids: Tensor | None) -> Tensor | None:
        if ids is None:
            return None
        ids = take(ids, self.queries.index)
        return ids if self.moved is None else (ids - self.moved.to(ids.device)).clamp(min=0)  # a hole's may be anything

    def _angles(self, layer: int, ids: Tensor | None, angles: tuple[Tensor, Tensor] | None) -> Any:
        if angles is None:
            return None
        if self.moved is None:
            return tuple(take(x, self.queries.index) for x in angles)
        rotary = self._parts.decoder.rotary_emb
        kinds = "layer_type" in signature(rotary.forward).parameters  # each kind of layer has its own frequencies
        return rotary(angles[0], ids, *([self._parts.decoder.config.layer_types[layer]] if kinds else []))
