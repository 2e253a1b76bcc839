"""Contents of a KV cache, layer by layer, and what else forward passes after the prefill need of the prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from v2drop.sequence.cache_span import CacheSpan
from v2drop.sequence.layout import Layout, dropped_before, restore
from v2drop.sequence.position_ids import Positions
from v2drop.sequence.shortened_prompt import ShortenedPrompt
from v2drop.types import Columns, Flags


@dataclass
class CachedPrompt:
    """A prompt from which tokens may be dropped, as far as later forward passes need it.

    Made at the start of a prefill, filled until the last drop; then kept as long as both its cache and the `with` live.

    Attributes:
        not_padding: flags of the columns of the sequence that entered layer 0; False in padding.
        common_suffix: number of columns at the end that stay in every row; a cache may be cropped by as many.
        positions: what happens to position ids.
        shortened_prompt: the sequence after a drop at layer 0; None without such a drop.
        layouts: columns on which layers run from a drop layer on, by drop layer.
        cache_spans: contents of the caches from a layer on, by layer.
        entry_shift: amount by which position ids move down for what a drop at layer 0 removed, of each column that
            entered and of later tokens; None if no layer closes these gaps, or if the decoder was given closed ones.
    """

    not_padding: Bool[Tensor, "batch length"]
    common_suffix: int
    positions: Positions
    shortened_prompt: ShortenedPrompt | None = None
    layouts: dict[int, Layout] = field(default_factory=dict)
    cache_spans: dict[int, CacheSpan] = field(default_factory=dict)
    entry_shift: tuple[Columns, Int[Tensor, "batch 1"]] | None = None

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
        """Number of columns that a drop at layer 0 removed from the caller's sequence."""
        return 0 if self.shortened_prompt is None else self.shortened_prompt.callers_length - self.length

    @property
    def full_layout(self) -> Layout:
        """The layout of the sequence that entered layer 0."""
        return Layout.full(*self.not_padding.shape, self.not_padding.device)

    def note_entry(self, shortened: ShortenedPrompt, layout: Layout, windows: bool) -> None:
        """Record a drop at layer 0.

        Args:
            shortened: the sequence after the drop.
            layout: its columns in the caller's sequence.
            windows: whether the decoder has sliding windows; their masks must be rebuilt after the prefill.
        """
        self.shortened_prompt = shortened
        if isinstance(self.positions, tuple):  # with one rule for all layers the decoder was given its position ids
            self.entry_shift = dropped_before(layout, self.not_padding)
        self.not_padding = self.not_padding.gather(1, layout.index) & layout.valid
        if windows or self.entry_shift is not None:
            self.cache_spans[0] = CacheSpan(self.full_layout, self.shift_after_prompt(self.full_layout))

    def note_drop(self, layer: int, layout: Layout) -> None:
        """Record a drop at layer 1 or later.

        Args:
            layer: the drop layer.
            layout: columns on which layers run, and which they cache, from there on.
        """
        self.layouts[layer] = layout
        self.cache_spans[layer] = CacheSpan(layout, self.shift_after_prompt(layout))

    def of_rows(self, rows: Int[Tensor, " rows"]) -> CachedPrompt:
        """The prompt with other rows, each one of this prompt's; as its cache has them."""
        return CachedPrompt(
            self.not_padding[rows],
            self.common_suffix,
            self.positions,
            None if self.shortened_prompt is None else self.shortened_prompt.of_rows(rows),
            {layer: layout.of_rows(rows) for layer, layout in self.layouts.items()},
            {layer: span.of_rows(rows) for layer, span in self.cache_spans.items()},
            None if self.entry_shift is None else tuple(shift[rows] for shift in self.entry_shift),
        )

    def position_shift(self, layout: Layout) -> Columns | None:
        """Amount by which the position id of each column of a layout moves down; None if all layers keep them."""
        if self.positions == "keep":
            return None
        shift = dropped_before(layout, self.not_padding)[0]
        return shift if self.entry_shift is None else shift + self.entry_shift[0].gather(1, layout.index)

    def shift_after_prompt(self, layout: Layout) -> Int[Tensor, "batch 1"] | None:
        """The same for tokens after the prompt, per row."""
        if self.positions == "keep":
            return None
        shift = dropped_before(layout, self.not_padding)[1]
        return shift if self.entry_shift is None else shift + self.entry_shift[1]

    def keys_in_callers_sequence(self, keys: Layout) -> tuple[Columns, Flags, Flags]:
        """Position of each key in the caller's sequence, flags of keys that are no holes, and of those no padding.

        Args:
            keys: columns of a layer's keys, counted in the sequence that entered layer 0 and the tokens after it.
        """
        in_prompt, column = keys.index < self.length, keys.index.clamp(max=self.length - 1)
        not_padding = self.not_padding.gather(1, column) | ~in_prompt
        if self.shortened_prompt is None:
            return keys.index, keys.valid, not_padding
        original = self.shortened_prompt.layout.index.gather(1, column)
        # Holes of the entering sequence are padding here; such a cache is never cropped, so no token takes their place.
        valid = keys.valid & not_padding
        return torch.where(in_prompt, original, keys.index + self.dropped_at_entry), valid, not_padding

    def inputs_after(self, kwargs: dict, past: int, mask: Any, counts_by_cache: bool) -> dict:
        """The decoder's arguments for tokens after the prefill (`ShortenedPrompt.extend`).

        Args:
            kwargs: the decoder's arguments as the model made them.
            past: number of tokens in the first layer's cache.
            mask: the attention mask that the model was called with.
            counts_by_cache: whether the model was called without position ids and counts the tokens in the first
                layer's cache instead.

        Raises:
            ValueError: after a drop at layer 0, mask or position ids do not fit all tokens so far.
        """
        if self.shortened_prompt is None:
            return kwargs
        return self.shortened_prompt.extend(kwargs, past - self.length, mask, counts_by_cache)

    def restored(self, states: Tensor) -> Tensor:
        """The decoder's hidden states [batch, length, dim] at the caller's length; NaN where a token was dropped."""
        if self.layouts:
            states = restore(states, self.layouts[max(self.layouts)], self.length)
        entry = self.shortened_prompt
        return states if entry is None else restore(states, entry.layout, entry.callers_length)

    def expected_lengths(self, n_layers: int, past: int) -> list[int]:
        """Number of tokens that the cache of each layer must hold when that of the first layer holds `past`.

        Raises:
            ValueError: the cache was cropped beyond the columns that all layers share, or at all after a drop at
                layer 0.
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
            contents = self.cache_spans.get(layer)
            widths.append(widths[-1] if contents is None else contents.columns.width)
        return [width + past - self.length for width in widths[1:]]
