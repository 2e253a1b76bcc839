"""KV caches of earlier layers, trimmed to the tokens that survive the last drop."""

from __future__ import annotations

from torch import Tensor
from transformers import Cache

from v2drop.guards.caches import check_cache
from v2drop.sequence.cache_span import CacheSpan
from v2drop.sequence.cached_prompt import CachedPrompt
from v2drop.types import Columns


def trim(cached: CachedPrompt, cache: Cache | None, first: int, last: int) -> None:
    """Trim the caches of layers from `first` - 1 to `last` - 1 to the tokens that survive the last drop (MustDrop).

    The cache of layer 0 is never trimmed, because the model counts its tokens by that cache.

    Args:
        cached: the prompt.
        cache: the cache that the prompt fills; None: nothing is cached, and nothing happens.
        first: the first drop layer.
        last: the last drop layer, which is about to run.

    Raises:
        ValueError: the cache is quantized, offloaded or cut to a sliding window.
    """
    if cache is None or not cached.layouts:
        return
    check_cache(cache, reads_cache=True)  # the model may have made it after the first check, with sliding windows
    final, layout = cached.layouts[max(cached.layouts)], cached.full_layout
    start = max(1, first - 1)
    for layer in range(last):
        layout = cached.layouts.get(layer, layout)
        if layer < start:
            continue
        columns, contents = layout.columns_in(final, cached.length), cache.layers[layer]
        contents.keys, contents.values = _columns_of(contents.keys, columns), _columns_of(contents.values, columns)
        if layer == start or layer in cached.layouts:
            cached.cache_spans[layer] = CacheSpan(final, cached.shift_after_prompt(layout))


def _columns_of(states: Tensor, columns: Columns) -> Tensor:
    """Columns of cached keys or values, [batch, heads, columns, head dim]."""
    columns = columns.to(states.device)[:, None, :, None]
    return states.gather(2, columns.expand(-1, states.shape[1], -1, states.shape[3]))
