"""Attention weights of a few queries, from queries and keys that are there anyway.

Beside whatever attention operator the model runs: no map of all positions, no layer run twice, nothing written to a
cache. What the released codes pay instead, the whole map, can be had too (`official_cost`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import rotate_half

from v2drop.layout import take
from v2drop.models import Parts
from v2drop.types import Flags, Queries, Ranks, States
from v2drop.watcher import Watcher

Heads = Float[Tensor, "batch column _heads angle"]
Angles = tuple[Float[Tensor, "_ column angle"], Float[Tensor, "_ column angle"]]  # cosine and sine


@dataclass(frozen=True)
class Projected:
    """Queries and keys of one self-attention, before rotation.

    Attributes:
        queries: [batch, column, heads, dim], of all columns, or of `asked` alone.
        keys: the same of all columns; they may have fewer heads.
        angles: cosines and sines that rotate them.
        scaling: of the logits.
        asked: the columns that `queries` are of; None: all.
    """

    queries: Float[Tensor, "batch _ _heads angle"]
    keys: Heads
    angles: Angles
    scaling: float
    asked: Queries | None = None

    @classmethod
    def of_layer(cls, layer: nn.Module, states: States, angles: Angles, asked: Queries) -> Projected:
        """Of what a decoder layer is about to be given; queries of some columns alone."""
        module, normed = layer.self_attn, layer.input_layernorm(states)
        queries, keys = module.q_proj(take(normed, asked)), module.k_proj(normed)
        # The layer may be on another device than what it is about to be given.
        queries, keys = (_heads(x, module).to(states.device) for x in (queries, keys))
        return cls(queries, keys, angles, module.scaling, asked)

    def turned_keys(self) -> Heads:
        """Keys as the cache holds them."""
        cos, sin = (x[:, :, None] for x in self.angles)
        return turn(self.keys, cos, sin)

    @torch.no_grad()
    def weights(
        self, queries: Queries, visible: Flags, whole_map: bool = False
    ) -> Float[Tensor, "batch heads queries column"]:
        """Attention weights, float32, with which some columns attend to all.

        Args:
            queries: the columns that attend, per row; `asked`, if queries are of these alone.
            visible: columns that may be attended to, by themselves and what follows.
            whole_map: compute it for all columns and throw the rest away, as eager attention does.
        """
        if whole_map:
            every = torch.arange(visible.shape[1], device=visible.device).expand_as(visible)
            rows = queries[:, None, :, None].expand(-1, self.queries.shape[2], -1, visible.shape[1])
            return self.weights(every, visible).gather(2, rows)
        row = torch.arange(len(queries), device=queries.device)[:, None]
        cos, sin = (x.expand(len(queries), -1, -1)[row, queries][:, :, None] for x in self.angles)
        asked = turn(self.queries if self.asked is not None else self.queries[row, queries], cos, sin)
        keys = self.turned_keys().repeat_interleave(self.queries.shape[2] // self.keys.shape[2], 2)
        logits = torch.einsum("bqhd,bkhd->bhqk", asked.float(), keys.float()) * self.scaling
        column = torch.arange(visible.shape[1], device=visible.device)
        seen = (visible[:, None] & (column <= queries[..., None])) | (column == queries[..., None])
        return logits.masked_fill(~seen[:, None], -torch.inf).softmax(-1)


class AttentionWatcher(Watcher):
    """Notes queries and keys of every layer before a drop."""

    def __init__(self) -> None:
        """Know nothing."""
        self._seen: dict[str, Any] = {}

    def hooks(self, parts: Parts, layers: tuple[int, ...]) -> list[Any]:
        """On the self-attention of the layers before drops."""
        handles = []
        for drop in layers:
            module = parts.layers[drop - 1].self_attn
            handles.append(module.register_forward_pre_hook(self._start, with_kwargs=True))
            for name in ("q_proj", "k_proj"):
                handles.append(getattr(module, name).register_forward_hook(partial(self._note, name)))
        return handles

    def _start(self, module: nn.Module, _: tuple, kwargs: dict[str, Any]) -> None:
        self._seen = {"module": module, "angles": kwargs["position_embeddings"]}

    def _note(self, name: str, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._seen[name] = output

    def forget(self) -> None:
        """Let go of all tensors."""
        self._seen.clear()

    @property
    def projected(self) -> Projected:
        """Queries and keys of the layer that ran last."""
        module = self._seen["module"]
        queries, keys = (_heads(self._seen[name], module) for name in ("q_proj", "k_proj"))
        return Projected(queries, keys, self._seen["angles"], module.scaling)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate, as the model does."""
    return x * cos + rotate_half(x) * sin


def _heads(x: Tensor, module: nn.Module) -> Float[Tensor, "batch _ _heads angle"]:
    return x.unflatten(-1, (-1, module.head_dim))


def on(weights: Float[Tensor, "batch heads queries column"], columns: Ranks) -> Tensor:
    """Weights on some columns, [batch, heads, queries, these]."""
    return weights.gather(3, columns[:, None, None].expand(-1, *weights.shape[1:3], -1))
