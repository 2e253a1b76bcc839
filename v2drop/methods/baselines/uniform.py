"""Evenly spaced dropping, the baseline that uses nothing but position."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.methods.in_llm.v2drop import V2Drop
from v2drop.types import Scores


@dataclass(frozen=True)
class Uniform(Method):
    """Of n candidates, the k at places floor((i + 1/2) n / k), i = 0 .. k-1, stay.

    Args:
        schedule: drop layers from 0 on.
    """

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # because V2Drop is compared with this baseline
    uses_position: ClassVar[bool] = True

    def score(self, candidates: Candidates) -> Scores:
        """1 for the tokens that stay, 0 for the others."""
        device = candidates.hidden.device
        n, k = (torch.tensor(counts, device=device)[:, None] for counts in (candidates.n_candidates, candidates.n_keep))
        # Token j stays if some (i + 1/2) n / k lies in [j, j + 1). Below an edge e lie ceil(k e / n - 1/2) of them.
        edge = torch.arange(candidates.valid.shape[1] + 1, device=device)
        below = torch.div(2 * k * edge + n - 1, 2 * n.clamp(min=1), rounding_mode="floor")
        return (below.diff(dim=1) > 0).float()
