"""Attention weights of a few queries, from queries and keys that are there anyway.

Beside whatever attention operator the model runs: no map of all positions, no layer run twice, nothing written to a
cache. What the released codes pay instead, the whole map, can be had too (`full_attention_map`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from v2drop.scoring.selection import gather_columns
from v2drop.types import Angles, Flags, Indices, Queries, States

Heads = Float[Tensor, "batch column _heads angle"]


@dataclass(frozen=True)
class QueriesAndKeys:
    """Queries and keys of one self-attention, before rotation.

    Attributes:
        queries: [batch, column, heads, dim], of all columns, or of `query_columns` alone.
        keys: the same of all columns; they may have fewer heads.
        angles: cosines and sines that rotate them.
        scaling: of the logits.
        asked: the columns that `queries` are of; None: all.
        mask: the layer's own, [batch or 1, 1, queries, keys], boolean or additive; others say no more than `visible`.
        cap: that a hyperbolic tangent holds logits to, if there is one (Gemma 2).
    """

    queries: Float[Tensor, "batch _ _heads angle"]
    keys: Heads
    angles: Angles
    scaling: float
    query_columns: Queries | None = None
    mask: Tensor | None = None
    cap: float | None = None

    @classmethod
    def of_layer(
        cls, layer: nn.Module, states: States, angles: Angles, query_columns: Queries, mask: Tensor | None
    ) -> QueriesAndKeys:
        """Of what a decoder layer is about to be given; queries of some columns alone."""
        module, normed = layer.self_attn, layer.input_layernorm(states)
        return cls.from_projections(
            module,
            module.q_proj(gather_columns(normed, query_columns)),
            module.k_proj(normed),
            angles,
            mask,
            query_columns,
        )

    @classmethod
    def from_projections(
        cls,
        module: nn.Module,
        queries: Float[Tensor, "batch _ _wide"],
        keys: Float[Tensor, "batch column _wide"],
        angles: Angles,
        mask: Tensor | None,
        query_columns: Queries | None = None,
    ) -> QueriesAndKeys:
        """Of what the projections of a self-attention gave, [batch, column, heads * dim]."""
        cap = getattr(module, "attn_logit_softcapping", None)
        # A layer that is yet to run may be on another device than what it will be given.
        parts = (split_heads(module, *x).to(angles[0].device) for x in (("q_norm", queries), ("k_norm", keys)))
        return cls(*parts, angles, module.scaling, query_columns, mask, cap)

    def rotated_keys(self) -> Heads:
        """Keys as the cache holds them."""
        cos, sin = (x[:, :, None] for x in self.angles)
        return apply_rotary(self.keys, cos, sin)

    @torch.no_grad()
    def weights(
        self, queries: Queries, visible: Flags, whole_map: bool = False
    ) -> Float[Tensor, "batch heads queries column"]:
        """Attention weights, float32, with which some columns attend to all.

        Args:
            queries: the columns that attend, per row; `query_columns`, if queries are of these alone.
            visible: columns that may be attended to, by themselves and, unless the mask says more, what follows.
            whole_map: compute it for all columns and throw the rest away, as eager attention does.
        """
        if whole_map:
            every = torch.arange(visible.shape[1], device=visible.device).expand_as(visible)
            rows = queries[:, None, :, None].expand(-1, self.queries.shape[2], -1, visible.shape[1])
            return self.weights(every, visible).gather(2, rows)
        row = torch.arange(len(queries), device=queries.device)[:, None]
        cos, sin = (x.expand(len(queries), -1, -1)[row, queries][:, :, None] for x in self.angles)
        query_columns = apply_rotary(
            self.queries if self.query_columns is not None else self.queries[row, queries], cos, sin
        )
        keys = self.rotated_keys().repeat_interleave(self.queries.shape[2] // self.keys.shape[2], 2)
        logits = torch.einsum("bqhd,bkhd->bhqk", query_columns.float(), keys.float()) * self.scaling
        logits = logits if self.cap is None else (logits / self.cap).tanh() * self.cap
        column = torch.arange(visible.shape[1], device=visible.device)
        seen = (visible[:, None] & self._sees(queries, column)) | (column == queries[..., None])
        return logits.masked_fill(~seen[:, None], -torch.inf).softmax(-1)

    def _sees(self, queries: Queries, column: Int[Tensor, " column"]) -> Bool[Tensor, "batch queries column"]:
        if self.mask is None or self.mask.ndim == 2:
            return column <= queries[..., None]
        mask = self.mask.to(column.device).expand(len(queries), -1, -1, -1)[:, 0]
        rows = mask.gather(1, queries[..., None].expand(-1, -1, mask.shape[2]))
        return rows if rows.dtype == torch.bool else rows == 0


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs of angle i and i + dim / 2, as the model does."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def split_heads(module: nn.Module, norm: str, x: States) -> Heads:
    """What a projection gave, by heads, normalised where the model does that (Qwen3, Gemma 3) by the named module."""
    x = x.unflatten(-1, (-1, module.head_dim))
    return getattr(module, norm)(x) if hasattr(module, norm) else x


def at_columns(weights: Float[Tensor, "batch heads queries column"], columns: Indices) -> Tensor:
    """Weights on some columns, [batch, heads, queries, these]."""
    return weights.gather(3, columns[:, None, None].expand(-1, *weights.shape[1:3], -1))
