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

    The paper drops once, half of the tokens at K = 2. The released code runs layer K - 1 with eager attention and the
    full attention map, uses the ranking of a batch's first row for all rows, and ignores padding. Here only the last
    token's weights are computed, separately for every row, so the model may run any attention operator.

    Args:
        schedule: drop layers from 1 on; several are allowed.
        debias: whether scores are divided by their position trend (arXiv 2508.17807).
        full_attention_map: whether the full attention map is computed, as in the released code; the choice of tokens is
            the same.

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
        """Attention weights of the last prompt token, mean over heads."""
        sequence = candidates.sequence
        weights = sequence.hooks.projected.weights(sequence.last, sequence.visible, self.full_attention_map)
        score = at_columns(weights, sequence.columns)[:, :, 0].mean(1)
        return divide_trend(score, candidates.vision_index, candidates.valid) if self.debias else score
