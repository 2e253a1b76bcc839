"""Which prompt filled which cache, for everything that comes after a prefill."""

from __future__ import annotations

from weakref import WeakKeyDictionary, WeakSet

from transformers import Cache

from v2drop.guards.state import check_cache_lengths, check_foreign_cache
from v2drop.sequence.cached_prompt import CachedPrompt

_shortened: WeakSet[Cache] = WeakSet()  # caches whose every layer is short: a drop at layer 0 made them


class CacheRegistry:
    """The prompts of one `with`, by the cache they filled; nothing is written on a cache.

    Args:
        n_layers: of the decoder.
        masked: there is a `vision_mask`, which must be of every prompt.
    """

    def __init__(self, n_layers: int, masked: bool) -> None:
        """Know no cache."""
        self._n_layers, self._masked = n_layers, masked
        self._prompts: WeakKeyDictionary[Cache, CachedPrompt | None] = WeakKeyDictionary()

    def register(self, cache: Cache | None, prompt: CachedPrompt | None) -> None:
        """The cache is being filled by this prompt; None: by one without vision tokens."""
        if cache is not None:
            self._prompts[cache] = prompt
            if prompt is not None and prompt.shortened_prompt is not None:
                _shortened.add(cache)

    def prompt_of(self, cache: Cache) -> CachedPrompt | None:
        """The prompt that filled a cache; None if nothing was dropped from it.

        Raises:
            ValueError: the cache is of another `with`, or was changed since (`v2drop.guards.forward`).
        """
        lengths = [cache.get_seq_length(layer) for layer in range(self._n_layers)]
        if cache not in self._prompts:
            check_foreign_cache(lengths, lengths[0], cache in _shortened, self._masked)
        prompt = self._prompts.get(cache)
        if prompt is not None:
            check_cache_lengths(lengths, prompt.expected_lengths(self._n_layers, lengths[0]))
        return prompt
