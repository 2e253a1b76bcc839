"""Helpers for calls of a decoder: arguments by name, input, form of the mask, output."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn


def with_states(output: Any, states: Tensor) -> Any:
    """A decoder's output with its hidden states replaced by `states`.

    Args:
        output: tuple, whose first entry is replaced; or model output, which is changed in place.
        states: new hidden states.
    """
    if isinstance(output, tuple):
        return (states, *output[1:])
    output.last_hidden_state = states
    return output


def arguments_by_name(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a call of `module.forward`, positional ones included, by name."""
    return dict(zip(inspect.signature(module.forward).parameters, args, strict=False)) | kwargs


def wants_flat_mask(decoder: nn.Module) -> bool:
    """Whether the decoder's attention operator takes 2-D masks; FlashAttention does."""
    return "flash" in decoder.config._attn_implementation


def decoder_input(kwargs: dict[str, Any]) -> Tensor:
    """The decoder's input: `inputs_embeds` [batch, length, dim] if there are any, else `input_ids` [batch, length]."""
    embeddings = kwargs.get("inputs_embeds")
    return kwargs["input_ids"] if embeddings is None else embeddings
