"""V2Drop: drop the tokens that the layer before changed least (arXiv 2509.01552, CVPR 2026)."""

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.variation import METRICS
from v2drop.types import Scores


@dataclass(frozen=True)
class V2Drop(Method):
    r"""At layer l, token i scores :math:`d(x_i^{l-1}, x_i^l)`, the change of its hidden state by layer l-1.

    The released code computes the L2 norm in the model's dtype and for the first row of a batch only. Here it is
    computed in float32, for every row.

    Args:
        schedule: drop layers from 1 on.
        metric: name in `v2drop.scoring.variation.METRICS`; the paper has "l1", "l2" (the default) and "cosine".

    Raises:
        ValueError: the metric is unknown, or the schedule drops at layer 0.
    """

    metric: str = "l2"

    released_schedule: ClassVar[Schedule] = Schedule({3: 0.5, 17: 0.25, 22: 1}, "V2Drop, released LLaVA code", least=1)
    first_layer: ClassVar[int] = 1
    needs_previous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the metric too."""
        super().__post_init__()
        if self.metric not in list(METRICS):
            raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {self.metric!r}.")

    def score(self, candidates: Candidates) -> Scores:
        """Change of each token's hidden state by the layer before."""
        return METRICS[self.metric](candidates.previous, candidates.hidden)
