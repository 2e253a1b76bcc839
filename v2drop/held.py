"""Caches of layers that ran before the last drop, cut to what it left, as MustDrop does before generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from transformers import Cache

from v2drop import caches
from v2drop.types import Columns

if TYPE_CHECKING:
    from v2drop.prompt import Prompt


def cut(cache: Cache | None, prompt: Prompt, first: int, last: int) -> None:
    """Cut the caches from the layer before the first drop to the one before the last, and note it in `prompt.held`.

    Layer 0's stays whole, for by its length the model counts its tokens. Position ids of what follows count the tokens
    that a layer ran on, so that the distances to the keys that are left stay as they were.

    Args:
        cache: None: there is none, and nothing to do.
        prompt: of this cache.
        first: drop layer.
        last: drop layer, which is about to run.

    Raises:
        ValueError: its layers do not hold all their tokens as they were computed.
    """
    if cache is None or not prompt.segments:
        return
    caches.check(cache, read=True)  # the model may have made it just now, with windows
    final, ran = prompt.segments[max(prompt.segments)], prompt.everything
    start = max(1, first - 1)
    for layer in range(last):
        ran = prompt.segments.get(layer, ran)
        if layer < start:
            continue
        columns, kept = ran.columns_of(final, prompt.length), cache.layers[layer]
        kept.keys, kept.values = _taken(kept.keys, columns), _taken(kept.values, columns)
        if layer == start or layer in prompt.segments:
            prompt.held[layer] = final, ran


def _taken(states: Tensor, columns: Columns) -> Tensor:
    """Columns of what a cache holds, [batch, heads, column, dim]."""
    columns = columns.to(states.device)[:, None, :, None]
    return states.gather(2, columns.expand(-1, states.shape[1], -1, states.shape[3]))
