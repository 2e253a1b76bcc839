"""Attention weights of a few queries, computed from queries and keys that the model computes anyway.

The weights are computed in addition to the model's own attention, so any attention operator may run there. There is no
full attention map, no layer runs twice, and nothing is written to a cache. The full map, which released codes compute,
is an option (`full_map`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from v2drop.scoring.selection import gather_columns
from v2drop.types import Angles, Flags, Indices, Queries, StartAngles, States

Heads = Float[Tensor, "batch column _heads angle"]


@dataclass(frozen=True)
class QueriesAndKeys:
    """Queries and keys of one self-attention, before rotary position embedding.

    Attributes:
        queries: queries of the columns `query_columns`, [batch, columns, heads, head dim].
        keys: keys of all columns, [batch, columns, heads, head dim]; possibly fewer heads than the queries have.
        angles: cosines and sines of the rotary angles of all columns.
        scaling: factor of the logits.
        query_columns: columns of `queries`, [batch, queries]; None: all columns.
        mask: the layer's attention mask, boolean or additive, [batch or 1, 1, queries, keys]. A 2-D mask or None is
            ignored, and every column attends to the visible columns up to itself.
        cap: bound of the logits, applied as cap * tanh(logits / cap) (Gemma 2); None: no bound.
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
        """Project the input of a decoder layer that is about to run.

        Args:
            layer: decoder layer.
            states: hidden states at its input.
            angles: cosines and sines of the rotary angles of all columns.
            query_columns: columns whose queries are computed.
            mask: the layer's attention mask, as the model's operator takes it.
        """
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
        """Split the outputs of a self-attention's projections into heads.

        Args:
            module: self-attention module.
            queries: output of `q_proj`, [batch, queries, heads * head dim].
            keys: output of `k_proj`, [batch, columns, heads * head dim].
            angles: cosines and sines of the rotary angles of all columns.
            mask: the layer's attention mask, as the model's operator takes it.
            query_columns: columns of `queries`; None: all columns.
        """
        cap = getattr(module, "attn_logit_softcapping", None)
        # A layer that has not run yet may be on another device than its input.
        heads = (split_heads(module, *x).to(angles[0].device) for x in (("q_norm", queries), ("k_norm", keys)))
        return cls(*heads, angles, module.scaling, query_columns, mask, cap)

    def rotated_keys(self, start: StartAngles | None = None) -> Heads:
        """Keys after rotary position embedding, [batch, columns, heads, head dim].

        Args:
            start: angles at each row's first token, from which positions are counted; None: positions are the model's,
                and the keys those of the KV cache.
        """
        cos, sin = (x[:, :, None] for x in (self.angles if start is None else angles_from(start, self.angles)))
        return apply_rotary(self.keys, cos, sin)

    @torch.no_grad()
    def weights(
        self, queries: Queries, visible: Flags, full_map: bool = False
    ) -> Float[Tensor, "batch heads queries column"]:
        """Attention weights of some queries on all columns, float32; each sums to 1.

        Args:
            queries: columns that attend, [batch, queries]; must equal `query_columns` unless that is None.
            visible: columns that are neither padding nor holes. Only these are attended to; a query always attends to
                itself.
            full_map: compute the weights of all columns first and select afterwards, as eager attention does. The
                result is the same; only time and memory differ.
        """
        if full_map:
            all_columns = torch.arange(visible.shape[1], device=visible.device).expand_as(visible)
            rows = queries[:, None, :, None].expand(-1, self.queries.shape[2], -1, visible.shape[1])
            return self.weights(all_columns, visible).gather(2, rows)
        row = torch.arange(len(queries), device=queries.device)[:, None]
        cos, sin = (x.expand(len(queries), -1, -1)[row, queries][:, :, None] for x in self.angles)
        rotated_queries = apply_rotary(
            self.queries if self.query_columns is not None else self.queries[row, queries], cos, sin
        )
        keys = self.rotated_keys().repeat_interleave(self.queries.shape[2] // self.keys.shape[2], 2)
        logits = torch.einsum("bqhd,bkhd->bhqk", rotated_queries.float(), keys.float()) * self.scaling
        logits = logits if self.cap is None else (logits / self.cap).tanh() * self.cap
        column = torch.arange(visible.shape[1], device=visible.device)
        allowed = (visible[:, None] & self._mask_rows(queries, column)) | (column == queries[..., None])
        return logits.masked_fill(~allowed[:, None], -torch.inf).softmax(-1)

    def _mask_rows(self, queries: Queries, column: Int[Tensor, " column"]) -> Bool[Tensor, "batch queries column"]:
        """Columns that the layer's mask lets each query attend to; the columns up to itself if there is no 4-D mask."""
        if self.mask is None or self.mask.ndim == 2:
            return column <= queries[..., None]
        mask = self.mask.to(column.device).expand(len(queries), -1, -1, -1)[:, 0]
        rows = mask.gather(1, queries[..., None].expand(-1, -1, mask.shape[2]))
        return rows if rows.dtype == torch.bool else rows == 0


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding: rotate entries i and i + dim / 2 of the last axis by angle i, as the models do.

    Args:
        x: queries or keys, [..., head dim].
        cos: cosines of the angles, broadcast against `x`.
        sin: sines of the angles, broadcast against `x`.
    """
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def angles_from(start: StartAngles, angles: Angles) -> Angles:
    r"""Cosines and sines at positions counted from a row's start, :math:`\cos(\theta - \theta_0)` and sine alike.

    Args:
        start: cosines and sines at the start, one column per row; may be scaled by a common factor, as YaRN's are.
        angles: cosines and sines of the columns, scaled likewise.
    """
    (cos_start, sin_start), (cos, sin) = start, angles
    scale = (cos_start.square() + sin_start.square()).sqrt()
    return (cos * cos_start + sin * sin_start) / scale, (sin * cos_start - cos * sin_start) / scale


def split_heads(module: nn.Module, norm: str, x: States) -> Heads:
    """Split the output of a projection into heads and normalise them, if the model does (Qwen3, Gemma 3).

    Args:
        module: self-attention module.
        norm: name of its submodule that normalises heads, "q_norm" or "k_norm"; not every model has it.
        x: output of the projection, [batch, columns, heads * head dim].
    """
    x = x.unflatten(-1, (-1, module.head_dim))
    return getattr(module, norm)(x) if hasattr(module, norm) else x


def at_columns(weights: Float[Tensor, "batch heads queries column"], columns: Indices) -> Tensor:
    """Attention weights on some columns, [batch, heads, queries, vision]."""
    return weights.gather(3, columns[:, None, None].expand(-1, *weights.shape[1:3], -1))
