"""Refusal of forward passes that have no right result while tokens are dropped."""

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
    """Refuse a call that has no right result when layers run at different lengths.

    Args:
        parts: modules of the model.
        module: the module that is called: the decoder, or the module that calls the decoder.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        reads_cache: whether the method reads or changes cached keys and values.

    Returns:
        All arguments of the call, by name.

    Raises:
        ValueError: an output of every layer is requested (`PER_LAYER`), or the attention operator, the KV cache or the
            kind of gradient checkpointing is not supported.
    """
    kwargs, decoder = arguments_by_name(module, args, kwargs), parts.decoder
    for name in PER_LAYER:
        requested = kwargs.get(name)
        check_no_output_per_layer(name, getattr(decoder.config, name, False) if requested is None else requested)
    _check_operator(decoder.config._attn_implementation, parts)
    _check_checkpointing(parts.layers[0])
    check_cache(kwargs.get("past_key_values"), reads_cache)
    return kwargs


def _check_operator(name: str, parts: ModelParts) -> None:
    if "flex" in name or "paged" in name or ("flash" in name and "flash" not in parts.attention_operators):
        allowed = ", ".join(parts.attention_operators).replace("flash", "flash_attention_2, 3, 4")
        raise ValueError(
            f"attention {name!r} is not supported for this model while tokens are dropped; allowed: {allowed}. "
            "(FlashAttention counts a sliding window over the tokens that are left, and lets no token attend to later "
            'ones.) model.set_attn_implementation("sdpa") switches.'
        )


def _check_checkpointing(layer: nn.Module) -> None:
    """Refuse gradient checkpointing that runs hooks in the backward pass; newer transformers releases do not."""
    checkpointed = layer.training and getattr(layer, "gradient_checkpointing", False)
    if checkpointed and type(layer).__call__ is not nn.Module.__call__:
        raise ValueError(
            "gradient checkpointing of this transformers release runs hooks again in the backward pass, when nothing "
            "is dropped any more; install a newer release, or call model.gradient_checkpointing_disable()."
        )


def check_no_output_per_layer(name: str, requested: bool | None) -> None:
    """Refuse an output of every layer, which needs layers of one length.

    Args:
        name: an argument in `PER_LAYER`.
        requested: its value.

    Raises:
        ValueError: the output is requested.
    """
    if requested:
        raise ValueError(
            f"{name}=True is not supported while tokens are dropped: layers run at different lengths. Leave it out."
        )
