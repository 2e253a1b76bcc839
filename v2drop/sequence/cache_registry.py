"""Registry of KV caches and the prompts that filled them; forward passes after a prefill look their prompt up here."""

from __future__ import annotations

from weakref import WeakKeyDictionary, WeakSet

from transformers import Cache

from v2drop.guards.state import check_cache_lengths, check_foreign_cache
from v2drop.sequence.cached_prompt import CachedPrompt

_shortened: WeakSet[Cache] = WeakSet()  # caches that a drop at layer 0 shortened in every layer, in any `with`


class CacheRegistry:
    """The prompts of one `with`, by the cache that each filled; nothing is written on a cache.

    Args:
        n_layers: number of decoder layers.
        masked: whether the `with` has a `vision_mask`; then every prompt must run inside it.
    """

    def __init__(self, n_layers: int, masked: bool) -> None:
        """Start with no cache."""
        self._n_layers, self._masked = n_layers, masked
        self._prompts: WeakKeyDictionary[Cache, CachedPrompt | None] = WeakKeyDictionary()

    def register(self, cache: Cache | None, prompt: CachedPrompt | None) -> None:
        """Record the prompt that fills a cache.

        Args:
            cache: cache that the prefill fills; None: nothing is cached, and nothing is recorded.
            prompt: the prompt; None: no row has vision tokens to drop.
        """
        if cache is not None:
            self._prompts[cache] = prompt
            if prompt is not None and prompt.shortened_prompt is not None:
                _shortened.add(cache)

    def prompt_of(self, cache: Cache) -> CachedPrompt | None:
        """The prompt that filled a cache; None if no token was dropped from the cache.

        Raises:
            ValueError: tokens were dropped from the cache in another `with`, or it was changed since its prefill
                (`v2drop.guards.state`).
        """
        lengths = [cache.get_seq_length(layer) for layer in range(self._n_layers)]
        if cache not in self._prompts:
            check_foreign_cache(lengths, lengths[0], cache in _shortened, self._masked)
        prompt = self._prompts.get(cache)
        if prompt is not None:
            check_cache_lengths(lengths, prompt.expected_lengths(self._n_layers, lengths[0]))
        return prompt
