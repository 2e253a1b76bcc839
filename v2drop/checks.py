"""What a forward pass may ask for while tokens are dropped: what cannot be followed is refused, never guessed at."""

from __future__ import annotations

import inspect
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from v2drop import caches
from v2drop.models import Parts

PER_LAYER = ("output_hidden_states", "output_attentions", "output_router_logits")


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


def forward(parts: Parts, module: nn.Module, args: tuple, kwargs: dict[str, Any], read: bool) -> dict[str, Any]:
    """Refuse what has no meaning, or no right value, when layers run at different lengths.

    Args:
        parts: of the model.
        module: that is called: the decoder, or what calls it.
        args: of this call.
        kwargs: of this call.
        read: whether the method reads what caches hold.

    Returns:
        All arguments by name.

    Raises:
        ValueError: something of every layer is asked for (`PER_LAYER`); the attention operator, the cache or gradient
            checkpointing is of a kind that is not supported.
    """
    kwargs, decoder = by_name(module, args, kwargs), parts.decoder
    for name in PER_LAYER:
        asked = kwargs.get(name)
        no_output_per_layer(name, getattr(decoder.config, name, False) if asked is None else asked)
    _operator(decoder.config._attn_implementation, parts)
    _run_once(parts.layers[0])
    caches.check(kwargs.get("past_key_values"), read)
    return kwargs


def _operator(name: str, parts: Parts) -> None:
    if "flex" in name or "paged" in name or ("flash" in name and "flash" not in parts.operators):
        allowed = ", ".join(parts.operators).replace("flash", "flash_attention_2, 3, 4")
        raise ValueError(
            f"attention {name!r} is not supported for this model while tokens are dropped; allowed: {allowed}. "
            "(Flash operators count a sliding window over the tokens that are left, and know no tokens that see later "
            'ones.) model.set_attn_implementation("sdpa") switches.'
        )


def _run_once(layer: nn.Module) -> None:
    """Refuse gradient checkpointing that runs hooks again; newer releases of transformers keep them outside."""
    checkpointed = layer.training and getattr(layer, "gradient_checkpointing", False)
    if checkpointed and type(layer).__call__ is not nn.Module.__call__:
        raise ValueError(
            "gradient checkpointing of this transformers runs hooks again in the backward pass, when nothing is "
            "dropped any more; install a newer one, or call model.gradient_checkpointing_disable()."
        )


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


def tensor(kwargs: dict[str, Any]) -> Tensor:
    """The decoder's input, embeddings or ids."""
    given = kwargs.get("inputs_embeds")
    return kwargs["input_ids"] if given is None else given


def no_new_vision(placeholders: Tensor | None, past: int) -> None:
    """Refuse image tokens after the start of a prompt.

    Raises:
        ValueError: there are some: a new image on an old cache, a prefill in chunks, or the prompt anew.
    """
    if placeholders is not None and placeholders.shape[1] > 1 and placeholders.any():
        raise ValueError(
            f"image tokens came when the cache already held {past} tokens; a prompt with its images must be "
            "prefilled at once (no prefill_chunk_size, no old cache with a new image; after a drop at layer 0 no old "
            "cache in `generate`, which takes its length for the number of tokens)."
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
