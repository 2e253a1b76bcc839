"""How many tokens each layer's cache holds, and caches that are cut after the last drop, as MustDrop does."""

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


def expected(prompt: Prompt, n_layers: int, past: int) -> list[int]:
    """How long every layer's cache must be when the first layer's is `past`.

    Raises:
        ValueError: it was cropped so far that layers lost different tokens.
    """
    if prompt.entry is not None and past < prompt.length:
        raise ValueError(
            f"after a drop at layer 0 a cache must not be cropped; got {past} of {prompt.length} tokens. Generation "
            "with drafts (prompt_lookup_num_tokens, an assistant_model) needs drops at layer 1 or later."
        )
    croppable = prompt.tail if prompt.segments else prompt.length
    if past < prompt.length - croppable:
        raise ValueError(
            f"the cache was cropped to {past} of the {prompt.length} tokens its prompt had, beyond its closing text; "
            "layers hold different tokens there. Run the prompt again."
        )
    widths = [prompt.length]
    for layer in range(n_layers):
        widths.append(prompt.held[layer][0].width if layer in prompt.held else widths[-1])
    return [width + past - prompt.length for width in widths[1:]]


def _taken(states: Tensor, columns: Columns) -> Tensor:
    """Columns of what a cache holds, [batch, heads, column, dim]."""
    columns = columns.to(states.device)[:, None, :, None]
    return states.gather(2, columns.expand(-1, states.shape[1], -1, states.shape[3]))
