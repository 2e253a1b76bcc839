"""Models spread over several devices: where layers, states and what is noted of a prompt meet."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


def moved(value: Any, device: torch.device) -> Any:
    """The tensors of a tuple or a dataclass on a device; what is there already is not copied."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(moved(each, device) for each in value)
    if not is_dataclass(value) or isinstance(value, (type, nn.Module)):
        return value
    return replace(value, **{each.name: moved(getattr(value, each.name), device) for each in fields(value)})
