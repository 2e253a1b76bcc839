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
    """Every vision token is equally likely to stay; each layer draws anew.

    The i-th vision token of *every* prompt draws the same number for a given seed and layer, so that a row is treated
    alike alone, in any batch and at any padding. For independent draws give every sample its own seed.

    Args:
        schedule: layer 0 is allowed.
        seed: of the draws.

    Raises:
        ValueError: the seed is no int.
    """

    seed: int = 0

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # as the method it is the baseline of
    uses_position: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the seed too."""
        super().__post_init__()
        if not isinstance(self.seed, Integral):
            raise ValueError(f"seed must be an int; got {self.seed!r}.")

    def score(self, candidates: Candidates) -> Scores:
        """Uniform numbers in [0, 1), by the token's rank among the prompt's vision tokens."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + candidates.layer) % 2**63)
        drawn = torch.rand(max(candidates.n_prompt_tokens), generator=generator).to(candidates.vision_index.device)
        return drawn[candidates.vision_index.clamp(0, len(drawn) - 1)]
