"""FasterVLM: keep the patches that the vision tower's class token attends to most (arXiv 2412.01818)."""

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.before_llm.base import BeforeLLM
from v2drop.types import Scores


@dataclass(frozen=True)
class FasterVLM(BeforeLLM):
    r"""Patch i scores :math:`\operatorname{mean}_h A_h[\text{CLS}, i]` in the tower layer that gives the features.

    The released code needs eager attention in the tower, replaces `generate` by a function that returns three values,
    and can batch only rows of one length. Here the weights of the class token are computed separately, so the tower may
    run any attention operator.

    Args:
        schedule: schedule with layer 0 only.

    Raises:
        ValueError: the schedule has other layers; on a model, if it has no CLIP tower.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 0.25}, label="FasterVLM, README example: 144 of 576")

    def score(self, candidates: Candidates) -> Scores:
        """Attention weights of the class token, mean over heads."""
        tower = candidates.sequence.hooks
        tower.check(candidates)
        return tower.for_candidates(tower.attention.mean(1), candidates)
