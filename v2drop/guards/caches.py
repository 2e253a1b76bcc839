"""Refusal of KV caches that cannot hold a different number of tokens in every layer."""

from __future__ import annotations

from transformers import Cache, DynamicCache, QuantizedCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, QuantizedLayer

try:
    from transformers.cache_utils import BaseQuantizedLayer as AnyQuantizedLayer  # since about 5.18, with FP8 layers
except ImportError:
    AnyQuantizedLayer = QuantizedLayer

ALLOWED_CACHES = (
    "DynamicCache (the default: leave out cache_implementation), also offloaded (on a GPU), QuantizedCache, or "
    "use_cache=False"
)


def check_cache(cache: Cache | None, reads_cache: bool = False) -> None:
    """Refuse a cache before anything runs.

    Args:
        cache: cache that the model is called with; None: no cache, or a DynamicCache that the model will make.
        reads_cache: whether the method reads or changes cached keys and values, which then must be neither quantized,
            offloaded nor cut to a sliding window.

    Raises:
        ValueError: the layers of the cache cannot differ in length, or the method cannot read them.
    """
    if cache is None:
        return
    supported = isinstance(cache, (DynamicCache, QuantizedCache))
    if not supported or not all(_has_own_length(layer) for layer in cache.layers):
        raise ValueError(
            f"{type(cache).__name__} cannot hold a different number of tokens per layer; allowed: {ALLOWED_CACHES}."
        )
    if reads_cache and (cache.offloading or any(_class(layer) is not DynamicLayer for layer in cache.layers)):
        kind = "an offloaded cache" if cache.offloading else "a cache of quantized or sliding-window layers"
        raise ValueError(
            f"the method reads what caches hold, and cannot read {kind}; allowed: DynamicCache of full "
            "attention (the default: leave out cache_implementation), or use_cache=False."
        )


def _has_own_length(layer: object) -> bool:
    return _class(layer) in (DynamicLayer, DynamicSlidingWindowLayer) or isinstance(layer, AnyQuantizedLayer)


def _class(layer: object) -> type:
    return getattr(layer, "followed_class", type(layer))  # v2drop.sequence.cache_rows
