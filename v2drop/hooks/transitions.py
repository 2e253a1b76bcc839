"""How self-attention and MLP change every column's state, added up over layers (TransPrune)."""

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
    """Adds up how self-attention and MLP of the layers before drops change every column's state."""

    def __init__(self) -> None:
        """Know nothing."""
        self._new: list[tuple[Tensor, Tensor]] = []  # of the modules since the last drop: growth and turn
        self._total: Tensor | float = 0.0

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On both modules of every layer from the one before the first drop to the one before the last."""
        window = parts.layers[drop_layers[0] - 1 : drop_layers[-1]] if drop_layers else []
        modules = [module for layer in window for module in (layer.self_attn, layer.mlp)]
        self._first = modules[0] if modules else None
        return [module.register_forward_hook(self._note, with_kwargs=True) for module in modules]

    def _note(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if module is self._first:
            self.pass_ends()  # what gradient checkpointing ran again after the last pass
        before = args[0] if args else kwargs["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        self._new.append(norm_ratio_and_angle(before.detach(), after.detach()))

    def total(self, visible: Flags) -> Total:
        """The sum over modules so far, of the columns that are there; the new ones ran on just these.

        Args:
            visible: columns that take part in a module's softmax.
        """
        self._total = to_device(self._total, visible.device)  # layers may be on several
        for growth, turn in to_device(tuple(self._new), visible.device):
            self._total = self._total + growth * turn.masked_fill(~visible, -torch.inf).softmax(1)
        self._new.clear()
        return self._total

    def columns_dropped(self, kept: Columns) -> None:
        """Only these columns go on."""
        self._total = self._total.gather(1, kept.to(self._total.device))

    def pass_ends(self) -> None:
        """Let go of all tensors."""
        self._new.clear()
        self._total = 0.0


def norm_ratio_and_angle(
    before: Float[Tensor, "batch column dim"], after: Float[Tensor, "batch column dim"]
) -> tuple[Total, Total]:
    """Ratio of norms, after by before, and one minus the cosine between them.

    >>> transition(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[-4.0, 3.0]]]))
    (tensor([[1.]]), tensor([[1.]]))
    """
    before, after = before.float(), after.float()
    growth = after.norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-8)
    return growth, 1 - torch.nn.functional.cosine_similarity(before, after, dim=-1)
