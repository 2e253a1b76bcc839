"""DivPrune: keep patches whose embeddings are far from each other (arXiv 2503.02175)."""

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
    r"""Choose an image's patches one by one, :math:`\arg\max_i \min_{j \in S} 1 - \cos(x_i, x_j)`.

    x are the embeddings after the projector, and S is the set of patches chosen before. The first patch is the one
    whose nearest neighbour is farthest. The score of a patch is the number of patches still to be chosen when it is
    chosen, itself included, and 0 if it is not chosen.

    The released code uses the choice of a batch's first row for all rows, takes the place of the image from a constant,
    and loops over a matrix that grows with each choice. Here every image of every row is treated separately.

    Args:
        schedule: schedule with layer 0 only.

    Raises:
        ValueError: the schedule has other layers.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 0.098}, label="DivPrune, released code")
    needs_tower: ClassVar[bool] = False

    def score(self, candidates: Candidates) -> Scores:
        """The quota for the first chosen patch of an image, one less for each further one, 0 for the others."""
        score = candidates.hidden.new_zeros(candidates.valid.shape, dtype=torch.float32)
        for row, image, quota in quotas_per_image(candidates):
            chosen = spread_out(candidates.hidden[row, image], quota)
            score[row, image[chosen]] = torch.arange(quota, 0, -1, device=score.device).float()
        return score


def spread_out(states: Float[Tensor, "image dim"], most: int) -> Int[Tensor, " chosen"]:
    """Indices of `most` states that are far from each other by cosine, in the order of choice.

    Args:
        states: embeddings of an image's patches.
        most: number of states to choose; at most the number of states.

    >>> angles = torch.tensor([0.0, 1.0, 1.1, 2.0])
    >>> spread_out(torch.stack([angles.cos(), angles.sin()], 1), 3)
    tensor([0, 3, 1])
    """
    unit = torch.nn.functional.normalize(states.float(), dim=1)
    distance = (1 - unit @ unit.T).fill_diagonal_(torch.inf)
    # Distance to the nearest other state for the first choice; afterwards, to the nearest chosen state.
    nearest, chosen = distance.amin(1), []
    for _ in range(most):
        best = nearest.argmax()
        nearest = distance[best] if not chosen else torch.minimum(nearest, distance[best])
        chosen.append(best)
        nearest = nearest.index_fill(0, best[None], -torch.inf)  # never chosen again: later minima keep -inf
    return torch.stack(chosen) if chosen else torch.zeros(0, dtype=torch.long, device=states.device)
