"""FastV: drop the tokens that the last prompt token attends to least (arXiv 2403.06764)."""

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.attention import at_columns
from v2drop.scoring.position_trend import divide_trend
from v2drop.types import Scores


@dataclass(frozen=True)
class FastV(Method):
    r"""At layer K, token i scores :math:`\operatorname{mean}_h A_h^{K-1}[\text{last}, i]`, attention in layer K - 1.

    The paper drops once, half of the tokens at K = 2. The released code runs layer K - 1 in eager attention with the
    full map, takes the ranking of a batch's first row for all of them and forgets its padding; here only the last
    token's weights are computed, for every row, beside any operator.

    Args:
        schedule: from layer 1 on; several drops are allowed.
        debias: divide the scores by their position trend (arXiv 2508.17807).
        full_attention_map: compute the full map, as the released code does; the same tokens are kept.

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    debias: bool = False
    full_attention_map: bool = False

    released_schedule: ClassVar[Schedule] = Schedule({2: 0.5}, label="FastV, paper: K = 2, R = 50 %")
    first_layer: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys

    def score(self, candidates: Candidates) -> Scores:
        """Mean over heads."""
        sequence = candidates.sequence
        weights = sequence.hooks.projected.weights(sequence.last, sequence.visible, self.full_attention_map)
        score = at_columns(weights, sequence.columns)[:, :, 0].mean(1)
        return divide_trend(score, candidates.vision_index, candidates.valid) if self.debias else score
