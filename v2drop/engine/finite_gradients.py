"""Hooks for training: NaN states of dropped tokens must not make the gradients of the language-model head NaN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def finite_gradients(head: nn.Module | None) -> list[Any]:
    """Hook the head so that a dropped position, whose state is NaN, has NaN logits but no effect on gradients.

    The gradient of a weight is a sum over positions of (gradient of the logits) times (state). At a dropped position
    that would be 0 times NaN. So the head's input is set to zero there, and its logits are set to NaN afterwards.

    Args:
        head: language-model head; None if the model has none.

    Returns:
        The handles of the hooks.
    """
    if head is None:
        return []
    dropped: list[Tensor] = []  # flags of the dropped positions in the current call, if it needs gradients

    def before(module: nn.Module, args: tuple) -> tuple | None:
        dropped.clear()
        if not torch.is_grad_enabled():
            return None
        dropped.append(args[0][..., :1].isnan())
        return (args[0].masked_fill(dropped[0], 0), *args[1:])

    def after(module: nn.Module, args: tuple, logits: Tensor) -> Tensor:
        return logits.masked_fill(dropped.pop().to(logits.device), torch.nan) if dropped else logits

    return [head.register_forward_pre_hook(before), head.register_forward_hook(after)]
