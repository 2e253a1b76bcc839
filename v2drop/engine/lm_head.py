"""Training through dropped tokens: NaN logits must not become NaN gradients of the language-model head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def finite_gradients(head: nn.Module | None) -> list[Any]:
    """Hook the head so that a dropped position, whose state is NaN, has NaN logits and no part in any gradient.

    The gradient of a weight is a sum over positions of (gradient of the logits) times (state); at a dropped position
    that is 0 times NaN. So the head is given zeros there, and its logits are made NaN afterwards.

    Returns:
        The handles of the hooks.
    """
    if head is None:
        return []
    gone: list[Tensor] = []

    def before(module: nn.Module, args: tuple) -> tuple | None:
        gone.clear()
        if not torch.is_grad_enabled():
            return None
        gone.append(args[0][..., :1].isnan())
        return (args[0].masked_fill(gone[0], 0), *args[1:])

    def after(module: nn.Module, args: tuple, logits: Tensor) -> Tensor:
        return logits.masked_fill(gone.pop().to(logits.device), torch.nan) if gone else logits

    return [head.register_forward_pre_hook(before), head.register_forward_hook(after)]
