"""Random dropping, the baseline that a criterion has to beat."""

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import torch

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.methods.in_llm.v2drop import V2Drop
from v2drop.types import Scores


@dataclass(frozen=True)
class Random(Method):
    """Every vision token is equally likely to stay; every drop layer has its own draw.

    For a given seed and layer, the i-th vision token of *every* prompt gets the same number. So a row has the same
    result alone, in any batch and with any padding. For independent draws, use a different seed for each sample.

    Args:
        schedule: drop layers from 0 on.
        seed: seed of the draws.

    Raises:
        ValueError: the seed is not an int.
    """

    seed: int = 0

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # because V2Drop is compared with this baseline
    uses_position: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the seed too."""
        super().__post_init__()
        if not isinstance(self.seed, Integral):
            raise ValueError(f"seed must be an int; got {self.seed!r}.")

    def score(self, candidates: Candidates) -> Scores:
        """Uniform random numbers in [0, 1), one for each vision index."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + candidates.layer) % 2**63)
        numbers = torch.rand(max(candidates.n_prompt_tokens), generator=generator).to(candidates.vision_index.device)
        return numbers[candidates.vision_index.clamp(0, len(numbers) - 1)]
