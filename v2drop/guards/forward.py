"""What a forward pass may ask for while tokens are dropped: what cannot be followed is refused, never guessed at."""

from __future__ import annotations

from typing import Any

from torch import nn

from v2drop.guards.caches import check_cache
from v2drop.models.calling import arguments_by_name
from v2drop.models.parts import ModelParts

PER_LAYER = ("output_hidden_states", "output_attentions", "output_router_logits")


def check_forward(
    parts: ModelParts, module: nn.Module, args: tuple, kwargs: dict[str, Any], reads_cache: bool
) -> dict[str, Any]:
    """Refuse what has no meaning, or no right value, when layers run at different lengths.

    Args:
        parts: of the model.
        module: that is called: the decoder, or what calls it.
        args: of this call.
        kwargs: of this call.
        reads_cache: whether the method reads what caches hold.

    Returns:
        All arguments by name.

    Raises:
        ValueError: something of every layer is asked for (`PER_LAYER`); the attention operator, the cache or gradient
            checkpointing is of a kind that is not supported.
    """
    kwargs, decoder = arguments_by_name(module, args, kwargs), parts.decoder
    for name in PER_LAYER:
        asked = kwargs.get(name)
        check_no_output_per_layer(name, getattr(decoder.config, name, False) if asked is None else asked)
    _operator(decoder.config._attn_implementation, parts)
    _run_once(parts.layers[0])
    check_cache(kwargs.get("past_key_values"), reads_cache)
    return kwargs


def _operator(name: str, parts: ModelParts) -> None:
    if "flex" in name or "paged" in name or ("flash" in name and "flash" not in parts.attention_operators):
        allowed = ", ".join(parts.attention_operators).replace("flash", "flash_attention_2, 3, 4")
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


def check_no_output_per_layer(name: str, asked: bool | None) -> None:
    """Refuse what only layers of one length can give.

    Raises:
        ValueError: it is asked for.
    """
    if asked:
        raise ValueError(f"{name}=True is not supported while tokens are dropped: layers run at different lengths.")
