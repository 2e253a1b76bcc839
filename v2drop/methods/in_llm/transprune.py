"""TransPrune: keep the tokens that layers change most and that the text attends to most (arXiv 2507.20630)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks
from v2drop.hooks.transitions import TransitionHooks
from v2drop.methods.base import Method
from v2drop.scoring.attention import QueriesAndKeys, at_columns
from v2drop.scoring.selection import padded_columns
from v2drop.types import Scores, Valid


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

    released_schedule: ClassVar[Schedule] = Schedule({7: 0.875, 9: 0.625, 12: 0.125}, label="TransPrune, released code")
    first_layer: ClassVar[int] = 1
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys
    positions: ClassVar[Literal["keep", "repack"]] = "repack"

    def hooks(self) -> Hooks:
        """Notes of every module."""
        return TransitionHooks()

    def score(self, candidates: Candidates) -> Scores:
        """Transition and attention, both as shares."""
        sequence, real = candidates.sequence, candidates.valid
        total = sequence.hooks.total(sequence.visible).gather(1, sequence.columns)
        return _share(total, real) + _share(_guided(candidates), real)


def _guided(candidates: Candidates) -> Scores:
    """Mean attention of the text behind the picture in the layer to come."""
    sequence = candidates.sequence
    text, there = padded_columns(sequence.text_after, int(sequence.text_after.sum(1).max()))
    layer = sequence.parts.layers[candidates.layer]
    projected = QueriesAndKeys.of_layer(layer, sequence.states, sequence.angles, text, sequence.mask)
    weights = at_columns(projected.weights(text, sequence.visible), sequence.columns).mean(1)
    part = there / there.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("btv,bt->bv", weights, part)


def _share(score: Scores, real: Valid) -> Scores:
    score = score.masked_fill(~real, 0)
    return score / score.sum(1, keepdim=True).clamp(min=1e-8)
