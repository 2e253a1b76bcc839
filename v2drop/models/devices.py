"""Models spread over several devices: moving tensors to where layers, states and the bookkeeping of a prompt meet."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor


class TensorRecord:
    """Base class of dataclasses whose tensors move to another device together."""


def to_device(value: Any, device: torch.device) -> Any:
    """A tensor on a device; also the tensors of a tuple or of a `TensorRecord`. Any other value as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(to_device(each, device) for each in value)
    if isinstance(value, TensorRecord):
        return replace(value, **{each.name: to_device(getattr(value, each.name), device) for each in fields(value)})
    return value
