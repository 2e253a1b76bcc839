"""DivPrune: keep patches that are far from each other (arXiv 2503.02175)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.before_llm.base import BeforeLLM, quotas_per_image
from v2drop.types import Scores


@dataclass(frozen=True)
class DivPrune(BeforeLLM):
    r"""Of the embeddings of a picture, choose i one by one, :math:`\arg\max_i \min_{j \in S} 1 - \cos(x_i, x_j)`.

    S are those chosen before; the first is the one whose nearest neighbour is farthest. The score is what is left to be
    chosen when its turn comes, 0 if it never does.

    The released code takes a batch's first row for all of them, where a picture stands from a constant, and loops over
    a matrix that grows with each choice; here every picture of every row is treated alone.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 0.098}, label="DivPrune, released code")
    needs_tower: ClassVar[bool] = False

    def score(self, candidates: Candidates) -> Scores:
        """In order of choice."""
        score = candidates.hidden.new_zeros(candidates.valid.shape, dtype=torch.float32)
        for row, picture, quota in quotas_per_image(candidates):
            chosen = spread_out(candidates.hidden[row, picture], quota)
            score[row, picture[chosen]] = torch.arange(quota, 0, -1, device=score.device).float()
        return score


def spread_out(states: Float[Tensor, "picture dim"], most: int) -> Int[Tensor, " chosen"]:
    """Which states are chosen, in this order.

    >>> angles = torch.tensor([0.0, 1.0, 1.1, 2.0])
    >>> spread_out(torch.stack([angles.cos(), angles.sin()], 1), 3)
    tensor([0, 3, 1])
    """
    unit = torch.nn.functional.normalize(states.float(), dim=1)
    distance = (1 - unit @ unit.T).fill_diagonal_(torch.inf)
    # The nearest of all others for the first; after that, of those chosen.
    nearest, chosen = distance.amin(1), []
    for _ in range(most):
        best = nearest.argmax()
        nearest = distance[best] if not chosen else torch.minimum(nearest, distance[best])
        chosen.append(best)
        nearest = nearest.index_fill(0, best[None], -torch.inf)  # for good: the minimum keeps it
    return torch.stack(chosen) if chosen else torch.zeros(0, dtype=torch.long, device=states.device)
