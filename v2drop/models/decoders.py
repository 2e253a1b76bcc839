"""Supported decoders, the sliding window of each layer, and how positions and image features enter."""

from __future__ import annotations

from inspect import signature

from torch import nn

TEXT_MODELS = (  # decoders known to call their layers as `v2drop.models.families` says, alone or inside a family
    "llama",
    "qwen2",
    "qwen3",
    "mistral",
    "qwen2_vl_text",
    "qwen2_5_vl_text",
    "qwen3_vl_text",
    "qwen3_vl_moe_text",
    "gemma",
    "gemma2",
    "gemma3_text",
)
LAYER_KINDS = ("full_attention", "sliding_attention")


def window_per_layer(decoder: nn.Module) -> tuple[int | None, ...]:
    """Sliding window of each decoder layer: number of columns that a token attends to, itself included; None: all.

    Raises:
        ValueError: the decoder's type is not in `TEXT_MODELS`, or a layer's kind is not in `LAYER_KINDS`.
    """
    config = decoder.config
    if config.model_type not in TEXT_MODELS:
        raise ValueError(
            f"a decoder of type {config.model_type!r} is not supported; allowed: {', '.join(TEXT_MODELS)}."
        )
    window, n_layers = getattr(config, "sliding_window", None), len(decoder.layers)
    kinds = getattr(config, "layer_types", None) or [LAYER_KINDS[window is not None]] * n_layers
    if unknown := sorted(set(kinds) - set(LAYER_KINDS)):
        raise ValueError(f"layers must be of {' or '.join(LAYER_KINDS)}; got {', '.join(unknown)}.")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def uses_mrope(decoder: nn.Module) -> bool:
    """Whether position ids have three axes, time, height and width (M-RoPE), instead of counting tokens."""
    return "mrope_section" in (getattr(decoder.config, "rope_parameters", None) or {})


def uses_deepstack(decoder: nn.Module) -> bool:
    """Whether the decoder adds image features to the output of its first layers (DeepStack)."""
    return "deepstack_visual_embeds" in signature(decoder.forward).parameters
