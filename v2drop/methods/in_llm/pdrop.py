"""PyramidDrop: in stages, drop what the last prompt token is about to attend to least (arXiv 2410.17247)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.attention import QueriesAndKeys, at_columns
from v2drop.scoring.position_trend import divide_trend
from v2drop.types import Scores


@dataclass(frozen=True)
class PDrop(Method):
    r"""At layer l, token i scores :math:`\operatorname{mean}_h A_h^l[\text{last}, i]`, attention in the layer to come.

    Its queries and keys are computed from what enters it, before the drop, for the last prompt token alone. Position
    ids are repacked, so that they are as far behind at generation as tokens are missing in that layer.

    The released code computes values too, needs right padding and one picture a row, and fails in eager attention and
    in generation from a padded batch. It computes one row only, so there is no `full_attention_map`.

    Args:
        schedule: from layer 1 on.
        debias: divide the scores by their position trend (arXiv 2508.17807).

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    debias: bool = False

    released_schedule: ClassVar[Schedule] = Schedule({8: 0.5, 16: 0.25, 24: 0.125}, label="PyramidDrop, released code")
    first_layer: ClassVar[int] = 1  # a drop at layer 0 comes before there are position embeddings
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys
    positions: ClassVar[Literal["keep", "repack"]] = "repack"

    def score(self, candidates: Candidates) -> Scores:
        """Mean over heads."""
        sequence = candidates.sequence
        layer = sequence.parts.layers[candidates.layer]
        projected = QueriesAndKeys.of_layer(layer, sequence.states, sequence.angles, sequence.last, sequence.mask)
        score = at_columns(projected.weights(sequence.last, sequence.visible), sequence.columns)[:, :, 0].mean(1)
        return divide_trend(score, candidates.vision_index, candidates.valid) if self.debias else score
