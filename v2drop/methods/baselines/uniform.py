"""Evenly spaced dropping, the baseline that uses nothing but position."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch

from v2drop.arguments import number
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.methods.in_llm.v2drop import V2Drop
from v2drop.types import Scores

LARGEST_DENOMINATOR = 10**6  # fractions with smaller ones are told apart by a float


@dataclass(frozen=True)
class Uniform(Method):
    """Of n candidates, the k at places floor((i + phase) n / k), i = 0 .. k-1, stay.

    At every drop n counts the candidates that are left, so a later drop spaces its tokens evenly among the survivors of
    the earlier ones. Places are computed in whole numbers: the phase is the fraction nearest to the float among those
    with a denominator of up to a million, so 0.6 is 3/5 and 1/3 a third.

    One phase is one of many evenly spaced choices, and may meet or miss a pattern of the picture. A statement about
    even spacing takes several phases.

    Args:
        schedule: drop layers from 0 on.
        phase: place of the first token in the first n / k candidates, in [0, 1).

    Raises:
        ValueError: the phase is no number from 0 to less than 1.
    """

    phase: float = 0.5

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # because V2Drop is compared with this baseline
    uses_position: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the phase too."""
        super().__post_init__()
        self._set("phase", float(number("phase", self.phase, 0, 1)))
        if self._fraction == 1:
            raise ValueError(
                f"phase must be from 0 to 0.999999, since 1 is phase 0 of the next token; got {self.phase!r}."
            )

    @property
    def _fraction(self) -> Fraction:
        return Fraction(self.phase).limit_denominator(LARGEST_DENOMINATOR)

    def score(self, candidates: Candidates) -> Scores:
        """1 for the tokens that stay, 0 for the others."""
        device, counts = candidates.hidden.device, candidates.n_candidates
        n, k = (torch.tensor(x, device=device)[:, None] for x in (counts, candidates.n_keep))
        most = torch.tensor([int(self._fraction * count) for count in counts], device=device)[:, None]
        # Token j stays if some (i + phase) n / k lies in [j, j + 1). Below an edge e lie ceil(k e / n - phase) of them:
        # the quotient of k e by n, and one more if the remainder is larger than phase * n.
        product = k * torch.arange(candidates.valid.shape[1] + 1, device=device)
        quotient = torch.div(product, n.clamp(min=1), rounding_mode="floor")
        below = quotient + (product - quotient * n > most)
        return (below.diff(dim=1) > 0).float()
