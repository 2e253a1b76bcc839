"""Contents of the KV caches of neighbouring layers that hold the same columns of a prompt."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from v2drop.sequence.layout import Layout


@dataclass(frozen=True)
class CacheSpan:
    """Contents of the KV caches from one layer up to the next layer with an entry of its own.

    Attributes:
        columns: the prompt's columns in the cache.
        position_shift: amount by which position ids of later tokens move down, per row; None if they are kept. It
            counts the tokens dropped before the layer *ran*. A cache trimmed afterwards lacks more tokens, but the
            distances between its keys and later queries must stay the same.
    """

    columns: Layout
    position_shift: Int[Tensor, "batch 1"] | None

    def of_rows(self, rows: Int[Tensor, " rows"]) -> CacheSpan:
        """The span for other rows, each one of this span's."""
        return CacheSpan(self.columns.of_rows(rows), None if self.position_shift is None else self.position_shift[rows])
