"""Key-value caches that can hold a different number of tokens in every layer, and those that cannot."""

from __future__ import annotations

from transformers import Cache, DynamicCache, QuantizedCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, QuantizedLayer

try:
    from transformers.cache_utils import BaseQuantizedLayer as Quantized  # from 5.18 or so on; FP8 is one too
except ImportError:
    Quantized = QuantizedLayer

ALLOWED_CACHES = (
    "DynamicCache (the default: leave out cache_implementation), also offloaded (on a GPU), QuantizedCache, or "
    "use_cache=False"
)


def check_cache(cache: Cache | None, reads_cache: bool = False) -> None:
    """Refuse a cache before anything runs.

    Args:
        cache: that the model is called with; None: there is none, or the model will make a DynamicCache.
        reads_cache: whether the method reads or changes what the cache holds, which needs it as it was computed, and at hand.

    Raises:
        ValueError: its layers cannot differ in length, or the method cannot read them.
    """
    if cache is None:
        return
    grows = isinstance(cache, (DynamicCache, QuantizedCache))
    if not grows or not all(_grows(layer) for layer in cache.layers):
        raise ValueError(
            f"{type(cache).__name__} cannot hold a different number of tokens per layer; allowed: {ALLOWED_CACHES}."
        )
    if reads_cache and (cache.offloading or any(type(layer) is not DynamicLayer for layer in cache.layers)):
        kind = "an offloaded cache" if cache.offloading else "a cache of quantized or sliding-window layers"
        raise ValueError(
            f"the method reads what caches hold, which {kind} does not have at hand; allowed: DynamicCache of full "
            "attention (the default: leave out cache_implementation), or use_cache=False."
        )


def _grows(layer: object) -> bool:
    return type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) or isinstance(layer, Quantized)
