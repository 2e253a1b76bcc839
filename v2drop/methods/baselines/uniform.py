"""Evenly spaced dropping: what position alone can do."""

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
    """Of n tokens, k evenly spaced ones stay: those at floor((i + 1/2) n / k), i = 0 .. k-1."""

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # as the method it is the baseline of
    uses_position: ClassVar[bool] = True

    def score(self, candidates: Candidates) -> Scores:
        """1 for the tokens that stay, 0 for the others."""
        device = candidates.hidden.device
        n, k = (torch.tensor(counts, device=device)[:, None] for counts in (candidates.n_candidates, candidates.n_keep))
        # Token j stays if some (i + 1/2) n / k lies in [j, j + 1); ceil(k e / n - 1/2) of them lie below an edge e.
        edge = torch.arange(candidates.valid.shape[1] + 1, device=device)
        below = torch.div(2 * k * edge + n - 1, 2 * n.clamp(min=1), rounding_mode="floor")
        return (below.diff(dim=1) > 0).float()
