"""TransPrune: keep the tokens that layers change most and that the text attends to most (arXiv 2507.20630)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks
from v2drop.hooks.transitions import TransitionHooks
from v2drop.methods.base import Method
from v2drop.scoring.attention import QueriesAndKeys, at_columns
from v2drop.scoring.selection import padded_columns
from v2drop.sequence.position_ids import Positions
from v2drop.types import Scores, Valid


@dataclass(frozen=True)
class TransPrune(Method):
    r"""At layer l, token i scores TTV_i + IGA_i, each divided by its sum over the row's candidates.

    *TTV*, token transition variation. For a module (self-attention or MLP) with input x (after the norm in front of the
    module) and output y (before the residual is added), it is
    :math:`\lVert y_i \rVert / \lVert x_i \rVert \cdot \operatorname{softmax}_j (1 - \cos(x_j, y_j))_i`, with the
    softmax over all tokens j of the row. TTV_i is the sum over both modules of the layers from (first drop layer - 1)
    to l - 1.

    *IGA*, instruction-guided attention, is :math:`\operatorname{mean}_{h, t} A_h^l[t, i]` in layer l itself, computed
    before the drop, over heads h and all text t after the images.

    The paper multiplies the change of the norm by one minus the cosine. The released code, which is followed here, has
    the ratio of norms and the softmax. In that code the softmax runs over all rows of a batch and their padding
    together, and drops reduce the sums correctly for one row only. Here every row has its own softmax, without padding.

    Args:
        schedule: drop layers from 1 on.

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    positions: Positions | range = field(default="repack", kw_only=True)

    released_schedule: ClassVar[Schedule] = Schedule({7: 0.875, 9: 0.625, 12: 0.125}, label="TransPrune, released code")
    first_layer: ClassVar[int] = 1
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys

    def hooks(self) -> Hooks:
        """Hooks that add up TTV."""
        return TransitionHooks()

    def score(self, candidates: Candidates) -> Scores:
        """TTV and IGA, each divided by its sum over the row's candidates."""
        sequence, valid = candidates.sequence, candidates.valid
        variation = sequence.hooks.total(sequence.visible).gather(1, sequence.columns)
        return _share_of_sum(variation, valid) + _share_of_sum(_guided_attention(candidates), valid)


def _guided_attention(candidates: Candidates) -> Scores:
    """IGA: attention weights of the text after the images in the layer about to run, mean over heads and text."""
    sequence = candidates.sequence
    text, valid_text = padded_columns(sequence.text_after, int(sequence.text_after.sum(1).max()))
    layer = sequence.parts.layers[candidates.layer]
    projected = QueriesAndKeys.of_layer(layer, sequence.states, sequence.angles, text, sequence.mask)
    weights = at_columns(projected.weights(text, sequence.visible), sequence.columns).mean(1)
    text_weights = valid_text / valid_text.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("btv,bt->bv", weights, text_weights)


def _share_of_sum(score: Scores, valid: Valid) -> Scores:
    score = score.masked_fill(~valid, 0)
    return score / score.sum(1, keepdim=True).clamp(min=1e-8)
