"""Hooks that add up how much self-attention and MLP change every column's state (TransPrune)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from v2drop.engine.contract import Hooks
from v2drop.models.devices import to_device
from v2drop.models.parts import ModelParts
from v2drop.types import Columns, Flags

Total = Float[Tensor, "batch column"]


class TransitionHooks(Hooks):
    """Adds up the token transition variation of every column over the layers before drops (`TransPrune`).

    The sums belong to one forward pass.
    """

    def __init__(self) -> None:
        """Start with no notes."""
        self._recent: list[tuple[Tensor, Tensor]] = []  # norm ratio and angle for each module since the last drop
        self._total: Tensor | float = 0.0

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook self-attention and MLP of the layers from (first drop layer - 1) to (last drop layer - 1)."""
        layers = parts.layers[drop_layers[0] - 1 : drop_layers[-1]] if drop_layers else []
        modules = [module for layer in layers for module in (layer.self_attn, layer.mlp)]
        self._first_module = modules[0] if modules else None
        return [module.register_forward_hook(self._note, with_kwargs=True) for module in modules]

    def _note(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if module is self._first_module:
            self.pass_ends()  # gradient checkpointing may have run modules again after the last pass
        before = args[0] if args else kwargs["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        self._recent.append(norm_ratio_and_angle(before.detach(), after.detach()))

    def total(self, visible: Flags) -> Total:
        """The sum over all recorded modules, for every remaining column.

        Args:
            visible: flags of the columns that are neither padding nor holes; only these take part in the softmax.
        """
        self._total = to_device(self._total, visible.device)  # layers may be on several devices
        for norm_ratio, angle in to_device(tuple(self._recent), visible.device):
            self._total = self._total + norm_ratio * angle.masked_fill(~visible, -torch.inf).softmax(1)
        self._recent.clear()
        return self._total

    def columns_kept(self, kept: Columns) -> None:
        """Keep the sums of the remaining columns only."""
        if isinstance(self._total, Tensor):  # not before the first sum, when another method may have dropped
            self._total = self._total.gather(1, kept.to(self._total.device))

    def pass_ends(self) -> None:
        """Let go of all tensors."""
        self._recent.clear()
        self._total = 0.0


def norm_ratio_and_angle(
    before: Float[Tensor, "batch column dim"], after: Float[Tensor, "batch column dim"]
) -> tuple[Total, Total]:
    """Norm of `after` divided by norm of `before`, and one minus the cosine between them, float32.

    Args:
        before: input of a module.
        after: output of the module.

    >>> norm_ratio_and_angle(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[-4.0, 3.0]]]))
    (tensor([[1.]]), tensor([[1.]]))
    """
    before, after = before.float(), after.float()
    norm_ratio = after.norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-8)
    return norm_ratio, 1 - torch.nn.functional.cosine_similarity(before, after, dim=-1)
