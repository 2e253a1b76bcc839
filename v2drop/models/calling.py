"""How a decoder is called: its arguments by name, its input, the form of its mask, its output."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn


def with_states(output: Any, states: Tensor) -> Any:
    """A decoder's output with other hidden states."""
    if isinstance(output, tuple):
        return (states, *output[1:])
    output.last_hidden_state = states
    return output


def arguments_by_name(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a module's call by name."""
    return dict(zip(inspect.signature(module.forward).parameters, args, strict=False)) | kwargs


def wants_flat_mask(decoder: nn.Module) -> bool:
    """Whether the model's attention operator takes 2-D masks, as the flash operators do."""
    return "flash" in decoder.config._attn_implementation


def decoder_input(kwargs: dict[str, Any]) -> Tensor:
    """The decoder's input, embeddings or ids."""
    given = kwargs.get("inputs_embeds")
    return kwargs["input_ids"] if given is None else given
