"""Models spread over several devices: where layers, states and what is noted of a prompt meet."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from v2drop.candidates import Candidates, Choice, Whole


def moved(value: Any, device: torch.device) -> Any:
    """Tensors on a device, also those of a tuple and of what a method is shown or chose; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(moved(each, device) for each in value)
    if isinstance(value, (Candidates, Whole, Choice)):
        return replace(value, **{each.name: moved(getattr(value, each.name), device) for each in fields(value)})
    return value
