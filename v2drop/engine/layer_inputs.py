"""Arguments of the decoder layers in place of the model's own: attention mask, position ids, rotary angles.

The decoder passes the same tensors to all layers, made for the sequence that enters layer 0. Here they are sliced to
the remaining columns, once for every span of layers between two drops; where gaps in position ids are closed, the
angles are computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from inspect import signature
from typing import Any

from torch import Tensor

from v2drop.models.calling import wants_flat_mask
from v2drop.models.parts import ModelParts
from v2drop.scoring.selection import gather_columns
from v2drop.sequence.cached_prompt import CachedPrompt
from v2drop.sequence.layout import Layout
from v2drop.sequence.masks import as_operator_takes, mask_after_prefill, mask_for
from v2drop.sequence.position_ids import repacks_at
from v2drop.types import Angles


class LayerInputs:
    """Arguments of the layers of one forward pass. The attributes are those of the current span of layers.

    Args:
        cached: the prompt, as its cache records it.
        parts: modules of the model.
        past: number of tokens in the first layer's cache; 0 in a prefill.

    Attributes:
        queries: remaining columns of this pass.
        keys: columns of the keys, cached ones included; None before the first drop.
        position_shift: amount by which position ids of the queries move down in layers that close gaps; None if all
            layers keep position ids.
    """

    def __init__(self, cached: CachedPrompt, parts: ModelParts, past: int) -> None:
        """Start with all columns."""
        self.queries, self.keys = cached.full_layout, None
        self.position_shift: Tensor | None = None
        self._cached, self._parts, self._past = cached, parts, past
        self._flat_mask = wants_flat_mask(parts.decoder)
        self._sliced: dict[tuple[str, Hashable], tuple[Any, Any]] = {}

    def _new_span(self, queries: Layout, keys: Layout, position_shift: Tensor | None) -> None:
        self.queries, self.keys, self.position_shift = queries, keys, position_shift
        self._sliced.clear()

    def layer_arguments(self, layer: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer's keyword arguments, sliced to the remaining columns."""
        return kwargs if self.keys is None else self._rotary(layer, kwargs | {"attention_mask": self._mask(kwargs)})

    def _mask(self, kwargs: dict[str, Any]) -> Tensor | None:
        return self._sliced_once(
            "mask",
            kwargs.get("attention_mask"),
            lambda mask: mask_for(mask, self.queries, self.keys, self._past, self._flat_mask),
        )

    def _rotary(self, layer: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer's keyword arguments with position ids and rotary angles of the remaining columns."""
        shift = self._shift_at(layer)
        kind = "kept" if shift is None else "closed"
        ids = self._sliced_once(f"ids {kind}", kwargs.get("position_ids"), lambda ids: self._position_ids(ids, shift))
        angles = kwargs.get("position_embeddings")
        angles = self._sliced_once(f"angles {kind}", angles, lambda angles: self._angles(layer, ids, angles))
        return kwargs | {"position_ids": ids, "position_embeddings": angles}

    def _sliced_once(self, name: str, value: Any, slice_: Callable) -> Any:
        # The model's tensor is stored with its slice, so that Python cannot give its id to another tensor meanwhile.
        key = name, id(value)
        if key not in self._sliced:
            self._sliced[key] = value, slice_(value)
        return self._sliced[key][1]

    def _shift_at(self, layer: int) -> Tensor | None:
        return self.position_shift if repacks_at(self._cached.positions, layer) else None

    def _position_ids(self, ids: Tensor | None, shift: Tensor | None) -> Tensor | None:
        if ids is None:
            return None
        ids = gather_columns(ids, self.queries.index)
        return ids if shift is None else (ids - shift.to(ids.device)).clamp(min=0)  # a hole may have any position id

    def _angles(self, layer: int, ids: Tensor | None, angles: Angles | None) -> tuple[Tensor, Tensor] | None:
        if angles is None:
            return None
        if self._shift_at(layer) is None:
            return tuple(gather_columns(x, self.queries.index) for x in angles)
        rotary = self._parts.decoder.rotary_emb
        per_kind = "layer_type" in signature(rotary.forward).parameters  # each kind of layer has its own frequencies
        return rotary(angles[0], ids, *([self._parts.decoder.config.layer_types[layer]] if per_kind else []))


class PrefillInputs(LayerInputs):
    """A prefill: queries and keys are the same columns, fewer after every drop."""

    def __init__(self, cached: CachedPrompt, parts: ModelParts) -> None:
        """Start with all columns that enter layer 0."""
        super().__init__(cached, parts, past=0)
        if cached.entry_shift is not None:
            self.continue_with(cached.full_layout)

    def continue_with(self, layout: Layout) -> None:
        """Use the columns of `layout` from this layer on."""
        self._new_span(layout, layout, self._cached.position_shift(layout))


class LaterInputs(LayerInputs):
    """Tokens after the prefill: none of them is dropped, and each layer's cache holds the columns left there.

    Args:
        cached: the prompt that filled the cache.
        parts: modules of the model.
        past: number of tokens in the first layer's cache.
        mask: the attention mask that the model was called with.
    """

    def __init__(self, cached: CachedPrompt, parts: ModelParts, past: int, mask: Any) -> None:
        """Start before the first layer."""
        super().__init__(cached, parts, past)
        self._model_mask = mask

    def resume_at(self, layer: int, n_new: int) -> None:
        """Use the contents of the layer's cache as keys, followed by `n_new` new tokens."""
        contents, length = self._cached.cache_spans.get(layer), self._cached.length
        if contents is None:
            return
        # If the cache was cropped, columns at the end of the prompt are missing, the same in all layers.
        n_cropped = max(0, length - self._past)
        keys = contents.columns.without_last(n_cropped).extended(length - n_cropped, self._past + n_new)
        queries = Layout.full(self._cached.rows, n_new, keys.index.device)
        self._new_span(queries, keys, contents.position_shift)

    def layer_arguments(self, layer: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer's keyword arguments; position ids and angles change only if gaps in position ids are closed."""
        if self.keys is None:
            return kwargs
        mask = self._windowed_mask(layer, kwargs) if any(self._parts.sliding_windows) else self._mask(kwargs)
        kwargs = kwargs | {"attention_mask": mask}
        return kwargs if self._shift_at(layer) is None else self._rotary(layer, kwargs)

    def _windowed_mask(self, layer: int, kwargs: dict[str, Any]) -> Tensor:
        """The mask of one layer of a decoder with sliding windows; its cache may hold no more than the window."""
        cached, window, n_new = self._cached, self._parts.sliding_windows[layer], self.queries.width
        width = kwargs["past_key_values"].layers[layer].get_mask_sizes(n_new)[0]
        dtype = kwargs["position_embeddings"][0].dtype
        key = "window", (window, width)
        if key not in self._sliced:
            keys = cached.keys_in_callers_sequence(self.keys.last(width))
            total = self._past + n_new + cached.dropped_at_entry
            mask = mask_after_prefill(*keys, n_new, total, self._model_mask, window)
            self._sliced[key] = None, as_operator_takes(self._parts, mask, dtype)
        return self._sliced[key][1]
