"""PyramidDrop: drop in stages the tokens that the last prompt token attends to least (arXiv 2410.17247)."""

from dataclasses import dataclass, field
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.attention import QueriesAndKeys, at_columns
from v2drop.scoring.position_trend import divide_trend
from v2drop.sequence.position_ids import Positions
from v2drop.types import Scores


@dataclass(frozen=True)
class PDrop(Method):
    r"""At layer l, token i scores :math:`\operatorname{mean}_h A_h^l[\text{last}, i]`, attention in layer l itself.

    The weights are computed before the layer runs, from its input before the drop, for the last prompt token only.
    Position ids are repacked: in generation, a layer's position ids are lower by the number of tokens it lacks.

    The released code computes values too, needs right padding and one image per row, and fails with eager attention and
    in generation from a padded batch. It computes the weights of one token only, so there is no `full_attention_map`.

    Args:
        schedule: drop layers from 1 on.
        debias: whether scores are divided by their position trend (arXiv 2508.17807).

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    debias: bool = False

    positions: Positions | range = field(default="repack", kw_only=True)

    released_schedule: ClassVar[Schedule] = Schedule({8: 0.5, 16: 0.25, 24: 0.125}, label="PyramidDrop, released code")
    first_layer: ClassVar[int] = 1  # a drop at layer 0 happens before position embeddings exist
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys

    def score(self, candidates: Candidates) -> Scores:
        """Attention weights of the last prompt token, mean over heads."""
        sequence = candidates.sequence
        layer = sequence.parts.layers[candidates.layer]
        projected = QueriesAndKeys.of_layer(layer, sequence.states, sequence.angles, sequence.last, sequence.mask)
        score = at_columns(projected.weights(sequence.last, sequence.visible), sequence.columns)[:, :, 0].mean(1)
        return divide_trend(score, candidates.vision_index, candidates.valid) if self.debias else score
