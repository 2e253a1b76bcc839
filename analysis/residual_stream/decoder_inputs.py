"""What a model calls its first decoder layer with: the states, the mask and the rotary angles of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from v2drop.models.parts import locate


@dataclass(frozen=True)
class DecoderInputs:
    """The arguments with which a forward pass calls its first decoder layer.

    Attributes:
        states: Hidden states, [batch, length, dim].
        mask: Attention mask, [batch or 1, 1, length, length], boolean or additive; None means causal.
        angles: Rotary position embeddings, each [batch or 1, length, any]; empty for layers that take none.
    """

    states: Tensor
    mask: Tensor | None
    angles: tuple[Tensor, ...]


@torch.no_grad()
def decoder_inputs(model: nn.Module, inputs: Mapping[str, Any]) -> DecoderInputs:
    """Run the model once and record the arguments of its first decoder layer.

    Args:
        model: A model of a supported family, in evaluation mode.
        inputs: The keyword arguments that the model is called with.

    Raises:
        ValueError: The model is in training mode, its attention is not causal, its layers run at different lengths, or
            the inputs are none.
    """
    shape = prompt_shape(inputs)
    if model.training:
        raise ValueError(
            "the model must be in evaluation mode, for dropout makes every pass another; call model.eval()."
        )
    layers, calls = locate(model).layers, []

    def record(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        angles = tuple(kwargs.get("position_embeddings") or ())
        calls.append(DecoderInputs(states, kwargs.get("attention_mask"), angles))

    # The copies in `FrozenDecoder` run the first layer's hooks again, so its states are recorded before those. At the
    # last layer the hook comes after all others, to see whether one of them has shortened the sequence.
    handles = [layers[0].register_forward_pre_hook(record, with_kwargs=True, prepend=True)]
    handles.append(layers[-1].register_forward_pre_hook(record, with_kwargs=True))
    try:
        model(**{**inputs, "use_cache": False})
    finally:
        for handle in handles:
            handle.remove()
    if any(call.states.shape[:2] != shape for call in calls):
        raise ValueError("the model must run all its tokens through all layers; leave the dropping `with` first.")
    mask = calls[0].mask
    if mask is not None and (mask if mask.dtype == torch.bool else mask == 0).triu(1).any():
        raise ValueError(
            "the layers must be causal: a token's impact is measured on what comes after it. In this model tokens see "
            "later ones (PaliGemma's prompts, Gemma 3's pictures); dropping works there, this analysis does not."
        )
    return calls[0]


def prompt_shape(inputs: Mapping[str, Any]) -> torch.Size:
    """[batch, length] of what the model is called with.

    Raises:
        ValueError: `inputs` are no keyword arguments of a model with a prompt.
    """
    names = ("input_ids", "inputs_embeds") if isinstance(inputs, Mapping) else ()
    for name in names:
        if inputs.get(name) is not None:
            return inputs[name].shape[:2]
    raise ValueError(
        "inputs must be the keyword arguments that the model is called with, input_ids or inputs_embeds among them, as "
        f"loaded.inputs gives them; got a {type(inputs).__name__}."
    )
