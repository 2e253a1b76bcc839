"""FasterVLM: keep the patches that the vision tower's class token attends to most (arXiv 2412.01818)."""

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.before_llm.base import BeforeLLM
from v2drop.types import Scores


@dataclass(frozen=True)
class FasterVLM(BeforeLLM):
    r"""Patch i scores :math:`\operatorname{mean}_h A_h[\text{CLS}, i]` in the layer whose features the model takes.

    The released code needs eager attention in the tower, replaces `generate` by one that returns three things, and
    stacks a batch only if all rows are of one length; here one row of weights is computed beside any operator.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 0.25}, label="FasterVLM, README example: 144 of 576")

    def score(self, candidates: Candidates) -> Scores:
        """Mean over heads."""
        tower = candidates.sequence.hooks
        tower.check(candidates)
        return tower.for_candidates(tower.attention.mean(1), candidates)
