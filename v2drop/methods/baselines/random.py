"""Random dropping, the baseline that a criterion has to beat."""

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.in_llm.v2drop import V2Drop
from v2drop.methods.seeded import Seeded
from v2drop.types import Scores


@dataclass(frozen=True)
class Random(Seeded):
    """Every vision token is equally likely to stay; every drop layer has its own draw.

    For a given seed and layer, the i-th vision token of *every* prompt gets the same number. So a row has the same
    result alone, in any batch and with any padding. For independent draws, give each row a seed of its own, as
    `analysis.accuracy` does by the row's question and picture.

    Args:
        schedule: drop layers from 0 on.
        seed: seed of the draws, an int for all rows, or one for each row of the prompt; `generate` repeats these with
            the rows for beams.

    Raises:
        ValueError: as `Seeded`.
    """

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # because V2Drop is compared with this baseline
    uses_position: ClassVar[bool] = True

    def score(self, candidates: Candidates) -> Scores:
        """Uniform random numbers in [0, 1), one for each vision index."""
        return self.numbers(candidates)
