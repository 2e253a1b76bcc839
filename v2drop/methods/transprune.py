"""TransPrune: keep the tokens that layers change most and that the text attends to most (arXiv 2507.20630)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from v2drop.attention import Projected, on
from v2drop.candidates import Candidates, flagged
from v2drop.devices import moved
from v2drop.methods.base import Method
from v2drop.models import Parts
from v2drop.schedule import Schedule
from v2drop.types import Columns, Flags, Real, Scores
from v2drop.watcher import Watcher

Total = Float[Tensor, "batch column"]


class TransitionWatcher(Watcher):
    """Adds up how self-attention and MLP of the layers before drops change every column's state."""

    def __init__(self) -> None:
        """Know nothing."""
        self._new: list[tuple[Tensor, Tensor]] = []  # of the modules since the last drop: growth and turn
        self._total: Tensor | float = 0.0

    def hooks(self, parts: Parts, layers: tuple[int, ...]) -> list[Any]:
        """On both modules of every layer from the one before the first drop to the one before the last."""
        window = parts.layers[layers[0] - 1 : layers[-1]] if layers else []
        modules = [module for layer in window for module in (layer.self_attn, layer.mlp)]
        self._first = modules[0] if modules else None
        return [module.register_forward_hook(self._note, with_kwargs=True) for module in modules]

    def _note(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if module is self._first:
            self.forget()  # what gradient checkpointing ran again after the last pass
        before = args[0] if args else kwargs["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        self._new.append(transition(before.detach(), after.detach()))

    def total(self, visible: Flags) -> Total:
        """The sum over modules so far, of the columns that are there; the new ones ran on just these.

        Args:
            visible: columns that take part in a module's softmax.
        """
        self._total = moved(self._total, visible.device)  # layers may be on several
        for growth, turn in moved(tuple(self._new), visible.device):
            self._total = self._total + growth * turn.masked_fill(~visible, -torch.inf).softmax(1)
        self._new.clear()
        return self._total

    def narrow(self, columns: Columns) -> None:
        """Only these columns go on."""
        self._total = self._total.gather(1, columns.to(self._total.device))

    def forget(self) -> None:
        """Let go of all tensors."""
        self._new.clear()
        self._total = 0.0


@dataclass(frozen=True)
class TransPrune(Method):
    r"""At layer l, token i scores TTV_i + IGA_i, each divided by its sum over the vision tokens still there.

    The token transition variation of a module (self-attention or MLP) with input x, normalised as the module is given
    it, and output y, without the residual, is :math:`\frac{\lVert y_i \rVert}{\lVert x_i \rVert}
    \operatorname{softmax}_j (1 - \cos(x_j, y_j))_i` over all tokens of the row; TTV is its sum over both modules of the
    layers from one before the first drop on. Instruction-guided attention is :math:`\operatorname{mean}_{h, t}
    A_h^l[t, i]` in the layer to come, over heads and all text t behind the picture.

    The paper multiplies the change of the norm by one minus the cosine; the released code, followed here, has the ratio
    of norms and the softmax. Its softmax runs over all rows of a batch and their padding together, and what it adds up
    is cut right for one row only; here every row has its own, of real tokens.

    Args:
        schedule: from layer 1 on.

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    released: ClassVar[Schedule] = Schedule({7: 0.875, 9: 0.625, 12: 0.125}, label="TransPrune, released code")
    first_layer: ClassVar[int] = 1
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys
    positions: ClassVar[Literal["keep", "repack"]] = "repack"

    def watcher(self) -> Watcher:
        """Notes of every module."""
        return TransitionWatcher()

    def score(self, candidates: Candidates) -> Scores:
        """Transition and attention, both as shares."""
        whole, real = candidates.whole, candidates.real
        total = whole.watcher.total(whole.visible).gather(1, whole.columns)
        return _share(total, real) + _share(_guided(candidates), real)


def transition(
    before: Float[Tensor, "batch column dim"], after: Float[Tensor, "batch column dim"]
) -> tuple[Total, Total]:
    """Ratio of norms, after by before, and one minus the cosine between them.

    >>> transition(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[-4.0, 3.0]]]))
    (tensor([[1.]]), tensor([[1.]]))
    """
    before, after = before.float(), after.float()
    growth = after.norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-8)
    return growth, 1 - torch.nn.functional.cosine_similarity(before, after, dim=-1)


def _guided(candidates: Candidates) -> Scores:
    """Mean attention of the text behind the picture in the layer to come."""
    whole = candidates.whole
    text, there = flagged(whole.closing, int(whole.closing.sum(1).max()))
    layer = whole.parts.layers[candidates.layer]
    projected = Projected.of_layer(layer, whole.states, whole.angles, text, whole.mask)
    weights = on(projected.weights(text, whole.visible), whole.columns).mean(1)
    part = there / there.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("btv,bt->bv", weights, part)


def _share(score: Scores, real: Real) -> Scores:
    score = score.masked_fill(~real, 0)
    return score / score.sum(1, keepdim=True).clamp(min=1e-8)
