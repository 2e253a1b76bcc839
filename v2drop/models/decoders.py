"""What kinds of decoder layers can be followed, and what each of them sees."""

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
    """How many columns back each layer sees, itself included; None: all.

    Raises:
        ValueError: the decoder is of an unknown type, or a layer is neither full nor sliding attention.
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
    """Whether position ids are places in time, height and width (M-RoPE) and no count."""
    return "mrope_section" in (getattr(decoder.config, "rope_parameters", None) or {})


def uses_deepstack(decoder: nn.Module) -> bool:
    """Whether the decoder adds features of pictures after some of its layers."""
    return "deepstack_visual_embeds" in signature(decoder.forward).parameters
