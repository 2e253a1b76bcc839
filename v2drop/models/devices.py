"""Moving tensors between devices, for models whose layers are spread over several."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor


class TensorRecord:
    """Base class of dataclasses whose tensors `to_device` moves together."""


def to_device(value: Any, device: torch.device) -> Any:
    """Move a tensor, or all tensors in a tuple or `TensorRecord`, to a device; return any other value as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(to_device(each, device) for each in value)
    if isinstance(value, TensorRecord):
        return replace(value, **{each.name: to_device(getattr(value, each.name), device) for each in fields(value)})
    return value
