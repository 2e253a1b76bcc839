"""What a KV cache holds of its prompt, layer by layer: all that forward passes after the prefill need to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import Cache

from v2drop.guards.caches import check_cache
from v2drop.sequence.layout import Layout, dropped_before, restore
from v2drop.sequence.shortened_prompt import ShortenedPrompt
from v2drop.types import Columns, Flags


@dataclass(frozen=True)
class CacheLayer:
    """Contents of the KV caches from one layer up to the next layer with an entry of its own.

    Attributes:
        columns: the prompt's columns in the cache.
        position_shift: how far position ids of later tokens move down, per row; None if they are kept. It counts the
            tokens that were gone where the layer *ran*: a cache trimmed afterwards holds fewer columns than that, and
            the distances between its keys and later queries stay as they were.
    """

    columns: Layout
    position_shift: Int[Tensor, "batch 1"] | None


@dataclass
class CachedPrompt:
    """A prompt whose tokens were dropped; lives as long as the cache that it filled.

    Attributes:
        not_padding: columns of the sequence that entered layer 0, False in padding.
        common_suffix: number of columns at the end that stay in every row; a cache may be cropped by as many.
        repacks: whether gaps in position ids are closed.
        shortened_prompt: the sequence that a drop at layer 0 left; None without such a drop.
        layouts: by drop layer, the columns on which layers run from there on.
        cache_layers: by layer, what its cache and those of the following layers hold.
    """

    not_padding: Bool[Tensor, "batch length"]
    common_suffix: int
    repacks: bool
    shortened_prompt: ShortenedPrompt | None = None
    layouts: dict[int, Layout] = field(default_factory=dict)
    cache_layers: dict[int, CacheLayer] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return self.not_padding.shape[0]

    @property
    def length(self) -> int:
        """Number of columns that entered layer 0."""
        return self.not_padding.shape[1]

    @property
    def dropped_at_entry(self) -> int:
        """Number of columns by which a drop at layer 0 shortened the caller's sequence."""
        return 0 if self.shortened_prompt is None else self.shortened_prompt.length - self.length

    @property
    def full_layout(self) -> Layout:
        """The layout of the sequence that entered layer 0."""
        return Layout.full(*self.not_padding.shape, self.not_padding.device)

    def note_entry(self, shortened: ShortenedPrompt, layout: Layout, windows: bool) -> None:
        """Record a drop at layer 0.

        Args:
            shortened: the sequence that is left.
            layout: its columns in the caller's sequence.
            windows: whether the decoder has layers with a sliding window, whose masks go by short caches.
        """
        self.shortened_prompt = shortened
        self.not_padding = self.not_padding.gather(1, layout.index) & layout.valid
        if windows:
            self.cache_layers[0] = CacheLayer(self.full_layout, self._later_shift(self.full_layout))

    def note_drop(self, layer: int, layout: Layout) -> None:
        """Record a drop at a later layer: from there on, layers run on `layout` and caches are filled with it."""
        self.layouts[layer] = layout
        self.cache_layers[layer] = CacheLayer(layout, self._later_shift(layout))

    def position_shift(self, layout: Layout) -> Columns | None:
        """How far the position id of each column of a layout moves down; None if position ids are kept."""
        return dropped_before(layout, self.not_padding)[0] if self.repacks else None

    def _later_shift(self, layout: Layout) -> Int[Tensor, "batch 1"] | None:
        return dropped_before(layout, self.not_padding)[1] if self.repacks else None

    def keys_in_callers_sequence(self, keys: Layout) -> tuple[Columns, Flags]:
        """Positions of a layer's keys in the caller's sequence, and flags of keys that are neither padding nor holes.

        Args:
            keys: columns of the sequence that entered layer 0, and tokens since.
        """
        in_prompt, column = keys.index < self.length, keys.index.clamp(max=self.length - 1)
        valid = (self.not_padding.gather(1, column) | ~in_prompt) & keys.valid
        if self.shortened_prompt is None:
            return keys.index, valid
        original = self.shortened_prompt.layout.index.gather(1, column)
        return torch.where(in_prompt, original, keys.index + self.dropped_at_entry), valid

    def inputs_after(self, kwargs: dict, past: int, mask: Any, counts_by_cache: bool) -> dict:
        """The decoder's arguments for tokens after the prefill (`ShortenedPrompt.extend`).

        Args:
            kwargs: the decoder's arguments as the model made them.
            past: number of tokens in the first layer's cache.
            mask: the attention mask that the model was called with.
            counts_by_cache: whether the model was given no position ids, and counts by the first layer's cache.
        """
        if self.shortened_prompt is None:
            return kwargs
        return self.shortened_prompt.extend(kwargs, past - self.length, mask, counts_by_cache)

    def restored(self, states: Tensor) -> Tensor:
        """The decoder's output at the caller's length, NaN where a token was dropped."""
        if self.layouts:
            states = restore(states, self.layouts[max(self.layouts)], self.length)
        entry = self.shortened_prompt
        return states if entry is None else restore(states, entry.layout, entry.length)

    def trim(self, cache: Cache | None, first: int, last: int) -> None:
        """Trim the caches of layers from `first` - 1 to `last` - 1 to the tokens that survive the last drop (MustDrop).

        Layer 0's stays whole, because the model counts its tokens by that cache.

        Args:
            cache: the cache that the prompt fills; None: nothing is cached, and nothing happens.
            first: the first drop layer.
            last: the last drop layer, which is about to run.

        Raises:
            ValueError: layers of the cache do not hold all their tokens as they were computed.
        """
        if cache is None or not self.layouts:
            return
        check_cache(cache, reads_cache=True)  # the model may have made it just now, with windows
        final, ran = self.layouts[max(self.layouts)], self.full_layout
        start = max(1, first - 1)
        for layer in range(last):
            ran = self.layouts.get(layer, ran)
            if layer < start:
                continue
            columns, contents = ran.columns_in(final, self.length), cache.layers[layer]
            contents.keys, contents.values = _gathered(contents.keys, columns), _gathered(contents.values, columns)
            if layer == start or layer in self.layouts:
                self.cache_layers[layer] = CacheLayer(final, self._later_shift(ran))

    def expected_lengths(self, n_layers: int, past: int) -> list[int]:
        """The length that every layer's cache must have when the first layer's is `past`.

        Raises:
            ValueError: the cache was cropped so far that layers lost different tokens.
        """
        if self.shortened_prompt is not None and past < self.length:
            raise ValueError(
                f"after a drop at layer 0 a cache must not be cropped; got {past} of {self.length} tokens. Generation "
                "with drafts (prompt_lookup_num_tokens, an assistant_model) needs drops at layer 1 or later."
            )
        croppable = self.common_suffix if self.layouts else self.length
        if past < self.length - croppable:
            raise ValueError(
                f"the cache was cropped to {past} of the {self.length} tokens its prompt had, beyond its closing text; "
                "layers hold different tokens there. Run the prompt again."
            )
        widths = [self.length]
        for layer in range(n_layers):
            contents = self.cache_layers.get(layer)
            widths.append(widths[-1] if contents is None else contents.columns.width)
        return [width + past - self.length for width in widths[1:]]


def _gathered(states: Tensor, columns: Columns) -> Tensor:
    """Columns of keys or values, [batch, heads, column, dim]."""
    columns = columns.to(states.device)[:, None, :, None]
    return states.gather(2, columns.expand(-1, states.shape[1], -1, states.shape[3]))
