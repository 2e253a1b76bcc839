"""Registry of KV caches and the prompts that filled them; forward passes after a prefill look their prompt up here."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import Cache

from v2drop.guards.state import check_cache_lengths, check_foreign_cache, check_not_left
from v2drop.sequence.cache_rows import follow_rows, followed_layer
from v2drop.sequence.cached_prompt import CachedPrompt

PROMPT = "prompt"  # name of the record


class CacheRegistry:
    """The prompts of one `with`, each recorded on the cache that it filled, and so on all copies of that cache.

    Args:
        n_layers: number of decoder layers.
        masked: whether the `with` has a `vision_mask`; then every prompt must run inside it.
    """

    def __init__(self, n_layers: int, masked: bool) -> None:
        """Start with no cache."""
        self._n_layers, self._masked, self._closed = n_layers, masked, False

    def register(self, cache: Cache | None, prompt: CachedPrompt | None) -> None:
        """Record the prompt that filled a cache.

        Args:
            cache: cache that the prefill filled; None, or without layers: nothing is cached, and nothing is recorded.
            prompt: the prompt; None: no row has vision tokens to drop.
        """
        if cache is not None and cache.layers:
            rows = None if prompt is None else torch.arange(prompt.rows, device=prompt.not_padding.device)
            layer = follow_rows(cache)
            layer.note(PROMPT, rows, (self, prompt, rows))
            layer.before_update = partial(self._check_open, prompt)

    def close(self) -> None:
        """Note that the `with` was left: caches that lack tokens cannot be used from now on."""
        self._closed = True

    def _check_open(self, prompt: CachedPrompt | None) -> None:
        if prompt is not None and (prompt.layouts or prompt.shortened_prompt is not None):
            check_not_left(self._closed)

    def prompt_of(self, cache: Cache, mask: Any, n_new: int) -> CachedPrompt | None:
        """The prompt that filled a cache, with the rows that the cache has now; None if no token was dropped.

        Args:
            cache: the cache, or a copy of it.
            mask: attention mask that the model was called with.
            n_new: number of new tokens.

        Raises:
            ValueError: tokens were dropped from the cache in another `with`, or it was changed since its prefill
                (`v2drop.guards.state`).
        """
        lengths = [cache.get_seq_length(layer) for layer in range(self._n_layers)]
        layer = followed_layer(cache)
        unknown = None, None, None
        owner, prompt, rows = unknown if layer is None else layer.row_values.get(PROMPT, unknown)
        if owner is not self:
            shortened = prompt is not None and prompt.shortened_prompt is not None
            check_foreign_cache(lengths, lengths[0], mask, n_new, shortened, self._masked)
            return None
        if prompt is None:
            return None
        check_cache_lengths(lengths, prompt.expected_lengths(self._n_layers, lengths[0]))
        now = layer.row_tensors[PROMPT]
        return prompt if now is rows else prompt.of_rows(now)
