"""What a forward pass may ask for while tokens are dropped: what cannot be followed is refused, never guessed at."""

from __future__ import annotations

import inspect
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from v2drop import caches

PER_LAYER = ("output_hidden_states", "output_attentions")


def ours(same: bool, busy: int | None) -> None:
    """Refuse a model or a thread that the state of this `with` is not about.

    Raises:
        ValueError: the call comes from a copy of the model, or while another thread runs the model.
    """
    if not same:
        raise ValueError("this model was copied inside a dropping `with`, hooks and all; copy it outside.")
    if busy not in (None, get_ident()):
        raise ValueError("another thread runs this model inside the same `with`; use one model for each thread.")


def by_name(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a module's call by name."""
    return dict(zip(inspect.signature(module.forward).parameters, args, strict=False)) | kwargs


def forward(decoder: nn.Module, module: nn.Module, args: tuple, kwargs: dict[str, Any], read: bool) -> dict[str, Any]:
    """Refuse what has no meaning, or no right value, when layers run at different lengths.

    Args:
        decoder: of the model.
        module: that is called: the decoder, or what calls it.
        args: of this call.
        kwargs: of this call.
        read: whether the method reads what caches hold.

    Returns:
        All arguments by name.

    Raises:
        ValueError: hidden states or attentions of every layer are asked for; the attention operator or the cache is of
            a kind that is not supported.
    """
    kwargs = by_name(module, args, kwargs)
    for name in PER_LAYER:
        asked = kwargs.get(name)
        no_output_per_layer(name, getattr(decoder.config, name, False) if asked is None else asked)
    operator = decoder.config._attn_implementation
    if "flex" in operator or "paged" in operator:
        raise ValueError(f"attention {operator!r} is not supported; allowed: eager, sdpa, flash_attention_2 and later.")
    caches.check(kwargs.get("past_key_values"), read)
    return kwargs


def no_output_per_layer(name: str, asked: bool | None) -> None:
    """Refuse what only layers of one length can give.

    Raises:
        ValueError: it is asked for.
    """
    if asked:
        raise ValueError(f"{name}=True is not supported while tokens are dropped: layers run at different lengths.")


def wants_flat_mask(decoder: nn.Module) -> bool:
    """Whether the model's attention operator takes 2-D masks, as the flash operators do."""
    return "flash" in decoder.config._attn_implementation


def vision_mask(mask: Tensor | None, needed: bool) -> None:
    """Check a mask when it is given.

    Raises:
        ValueError: it is no boolean [batch, sequence], or it is missing for a text model.
    """
    if mask is None and needed:
        raise ValueError(
            "a text model has no vision tokens of its own; pass vision_mask=, a BoolTensor [batch, sequence] of the "
            "prompt positions that may be dropped."
        )
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim != 2):
        got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"vision_mask must be a BoolTensor [batch, sequence]; got {got}.")


def fitted(
    mask: Bool[Tensor, "rows columns"], decoder: nn.Module, kwargs: dict[str, Any], may_grow: bool
) -> Bool[Tensor, "batch length"]:
    """The user's mask on the rows and columns of a prompt.

    Rows are repeated as `generate` repeats a prompt for its beams. Without a cache `generate` runs the growing
    sequence anew (`may_grow`, after a first fit); what follows the mask is text.

    Raises:
        ValueError: it does not fit.
    """
    given = tensor(kwargs)
    batch, length = given.shape[:2]
    rows, columns = mask.shape
    cached = kwargs.get("use_cache")
    cached = decoder.config.use_cache if cached is None else cached
    grown = may_grow and not cached and length > columns
    repeated = batch % rows == 0 and (batch == rows or grown or _repeats(given, batch // rows))
    if not repeated or not (columns == length or grown):
        raise ValueError(
            f"vision_mask must be [{batch}, {length}], as the prompt is (with draft tokens, if a method of generation "
            f"adds them to it); got {[rows, columns]}."
        )
    mask = mask.to(given.device).repeat_interleave(batch // rows, 0)
    return torch.cat([mask, mask.new_zeros(batch, length - columns)], 1)


def _repeats(given: Tensor, times: int) -> bool:
    groups = given.unflatten(0, (-1, times))
    return bool((groups == groups[:, :1]).all())


def tensor(kwargs: dict[str, Any]) -> Tensor:
    """The decoder's input, embeddings or ids."""
    given = kwargs.get("inputs_embeds")
    return kwargs["input_ids"] if given is None else given


def seen(placeholders: Bool[Tensor, "batch length"] | None) -> Bool[Tensor, "batch length"]:
    """The image placeholders of this call.

    Raises:
        ValueError: the model was called with `inputs_embeds`, so nobody knows.
    """
    if placeholders is None:
        raise ValueError("with inputs_embeds the image tokens cannot be told from text; pass vision_mask=.")
    return placeholders


def no_new_vision(placeholders: Tensor | None, past: int) -> None:
    """Refuse image tokens after the start of a prompt.

    Raises:
        ValueError: there are some: a second turn on an old cache, or a prefill in chunks.
    """
    if placeholders is not None and placeholders.shape[1] > 1 and placeholders.any():
        raise ValueError(
            f"image tokens came when the cache already held {past} tokens; a prompt with its images must be "
            "prefilled at once (no prefill_chunk_size, no old cache with a new image)."
        )


def undropped(lengths: list[int], past: int, shortened: bool, masked: bool) -> None:
    """Accept a cache that no prompt of this `with` filled only if it holds whole sequences.

    Raises:
        ValueError: tokens were dropped from it; or `vision_mask` names positions of a prompt that it already holds.
    """
    if shortened or set(lengths) != {past}:
        raise ValueError(
            f"the cache holds {lengths} tokens per layer, and no prompt of this `with` filled it: it was copied, or "
            "made inside another `with`. Run its prompt again."
        )
    if masked:
        raise ValueError(
            f"the cache already holds {past} tokens from outside this `with`, so vision_mask= has no prompt to apply "
            "to. Run the whole prompt inside the `with`."
        )


def uncut(lengths: list[int], expected: list[int]) -> None:
    """Refuse the prompt's own cache if something else was done to it.

    Raises:
        ValueError: a layer holds more or fewer tokens than it was given.
    """
    if lengths != expected:
        raise ValueError(
            f"the cache holds {lengths} tokens per layer; after the last prompt of this `with` it must hold "
            f"{expected}. It was changed since. Run the prompt again."
        )


def same_rows(kwargs: dict[str, Any], rows: int) -> None:
    """Refuse a batch that changed after the prefill.

    Raises:
        ValueError: it has more or fewer rows than the prompt had.
    """
    if len(tensor(kwargs)) != rows:
        raise ValueError(f"the prompt had {rows} rows, now there are {len(tensor(kwargs))}; run the prompt again.")
