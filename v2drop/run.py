"""One forward pass over a narrowed sequence: what each layer is given in place of the model's own arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from v2drop.layout import Layout, mask_for, take


class Run:
    """Columns that are queries and keys at the layer that runs now.

    Attributes:
        queries: the columns of this pass that are still there.
        keys: the columns its keys come from, cached ones included; None as long as nothing was dropped.
        past: tokens in the first layer's cache before this pass; 0 in a prefill.
        moved: how far the position ids of the queries move down; None if they are kept.
    """

    def __init__(self, queries: Layout, rotary: nn.Module, flat_mask: bool, past: int = 0) -> None:
        """Start with everything there; `rotary` turns position ids into position embeddings."""
        self.queries, self.past = queries, past
        self.keys: Layout | None = None
        self.moved: Tensor | None = None
        self._rotary = rotary
        self._flat_mask = flat_mask
        self._cut: dict[tuple[str, int], tuple[Any, Any]] = {}  # by id: layer after layer is handed the same tensors

    def narrow(self, layout: Layout, moved: Tensor | None) -> None:
        """From here on, a prefill goes on with `layout`."""
        self.queries = self.keys = layout
        self.moved = moved
        self._cut.clear()

    def follow(self, segment: Layout | None, moved: Tensor | None, prompt_length: int, n_new: int) -> None:
        """From here on, the cache holds `segment` of the prompt and all tokens since; None: as before."""
        if segment is not None:
            rows = len(segment.index)
            self.queries = Layout.full(rows, n_new, segment.index.device)
            # A cache that was cropped has lost the end of the prompt, which is text in every layer (`Prompt.tail`).
            lost = max(0, prompt_length - self.past)
            self.keys = segment.without_last(lost).extended(prompt_length - lost, self.past + n_new)
            self.moved = moved
            self._cut.clear()

    def cut(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer's keyword arguments, cut to the columns that are there."""
        mask = self._once("attention_mask", kwargs.get("attention_mask"), self._mask)
        kwargs = kwargs | {"attention_mask": mask}
        if not self.past or self.moved is not None:  # after the prefill nothing is dropped from the queries
            kwargs["position_ids"] = ids = self._once("position_ids", kwargs.get("position_ids"), self._positions)
            kwargs["position_embeddings"] = self._once(
                "position_embeddings", kwargs.get("position_embeddings"), partial(self._angles, ids)
            )
        return kwargs

    def _once(self, name: str, value: Any, make: Callable) -> Any:
        # The value is kept beside its cut, so that its id cannot be used again meanwhile.
        key = name, id(value)
        if key not in self._cut:
            self._cut[key] = value, make(value)
        return self._cut[key][1]

    def _mask(self, mask: Tensor | None) -> Tensor | None:
        return mask_for(mask, self.queries, self.keys, self.past, self._flat_mask)

    def _positions(self, ids: Tensor | None) -> Tensor | None:
        if ids is None:
            return None
        ids = take(ids, self.queries.index)
        return ids if self.moved is None else (ids - self.moved).clamp(min=0)  # a hole's may be anything

    def _angles(self, ids: Tensor | None, angles: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
        if angles is None:
            return None
        if self.moved is not None:
            return self._rotary(angles[0], ids)
        return tuple(take(x, self.queries.index) for x in angles)
