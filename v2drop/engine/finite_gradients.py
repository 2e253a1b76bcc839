"""Hooks for training: NaN states of dropped tokens must not make the gradients of the language-model head NaN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from v2drop.guards.one_thread import NotPickled


class FiniteGradients(NotPickled):
    """Hooks on the head so that a dropped position, whose state is NaN, has NaN logits but no effect on gradients.

    The gradient of a weight is a sum over positions of (gradient of the logits) times (state). At a dropped position
    that would be 0 times NaN. So the head's input is set to zero there, and its logits are set to NaN afterwards.
    """

    def __init__(self) -> None:
        """Start between two calls."""
        self._dropped: Tensor | None = None  # flags of the dropped positions in a call that needs gradients

    def install(self, head: nn.Module | None) -> list[Any]:
        """Hook the head; returns the handles.

        Args:
            head: language-model head; None if the model has none.
        """
        if head is None:
            return []
        return [head.register_forward_pre_hook(self._before), head.register_forward_hook(self._after)]

    def _before(self, module: nn.Module, args: tuple) -> tuple | None:
        self._dropped = args[0][..., :1].isnan() if torch.is_grad_enabled() else None
        return None if self._dropped is None else (args[0].masked_fill(self._dropped, 0), *args[1:])

    def _after(self, module: nn.Module, args: tuple, logits: Tensor) -> Tensor:
        dropped, self._dropped = self._dropped, None
        return logits if dropped is None else logits.masked_fill(dropped.to(logits.device), torch.nan)
