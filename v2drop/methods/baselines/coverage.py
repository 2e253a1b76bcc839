"""Coverage: tokens that leave no part of the picture far from one, the baseline that uses nothing but the grid."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from v2drop.arguments import whole_number
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.before_llm.base import quotas_per_image
from v2drop.methods.in_llm.v2drop import V2Drop
from v2drop.methods.seeded import Seeded
from v2drop.models.parts import ModelParts
from v2drop.types import Indices, Scores


@dataclass(frozen=True)
class Coverage(Seeded):
    r"""Choose a picture's tokens one by one, :math:`\arg\max_i \min_{j \in S} \lVert p_i - p_j \rVert_2`.

    p are the tokens' rows and columns in their picture, and S is the set of tokens chosen before. The first token is
    drawn, and so is the choice between tokens that are equally far: by the order of the sequence, the first half of a
    picture would keep up to three times as many as the second, because all tokens between chosen neighbours are
    equally far. Of the candidates, the farthest from a chosen token is at most twice as far as with the best choice of
    as many (k-centre, Gonzalez, Theoretical Computer Science 38, 1985). Corners are far from everything, so they
    usually stay, and tokens at the border stay more often than those inside.

    The score of a token is the number of tokens still to be chosen when it is chosen, itself included, and 0 if it is
    not chosen. Every picture of a row leaves the same share. Drops after the first choose among the survivors, with
    draws of their own.

    The grid is known where the model has a CLIP tower: its own square grid for each picture, or one square grid for a
    row whose tokens are not a multiple of that (one picture of another size). Elsewhere `grid` says it, because the
    number of tokens does not: 144 may be 12 x 12 or 9 x 16.

    Args:
        schedule: drop layers from 0 on.
        seed: seed of the draws, an int for all rows, or one for each row of the prompt; `generate` repeats these with
            the rows for beams.
        grid: rows and columns of tokens that every picture has; None: the CLIP tower's.

    Raises:
        ValueError: as `Seeded`; `grid` is not two ints of 1 or more; on a model, if it has no CLIP tower and `grid` is
            None; in a forward pass, if the tokens of a row do not fill such grids.
    """

    grid: tuple[int, int] | None = None

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # because V2Drop is compared with this baseline
    needs_tower: ClassVar[bool] = True  # its size, unless `grid` says it
    uses_position: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the grid too."""
        super().__post_init__()
        if self.grid is None:
            return
        if not isinstance(self.grid, (tuple, list)) or len(self.grid) != 2:
            raise ValueError(f"grid must be rows and columns of tokens, as in (12, 16), or None; got {self.grid!r}.")
        self._set("grid", tuple(whole_number("each of grid", side, 1) for side in self.grid))

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model that does not say how its tokens lie.

        Raises:
            ValueError: the model has no CLIP tower, and there is no `grid`.
        """
        if self.grid is None and parts.vision_tower is None:
            raise ValueError(
                "Coverage reads the vision tower for the grid of a picture's tokens; allowed: the family 'llava' with "
                "a CLIP tower, or a grid, as in Coverage(schedule, grid=(12, 16)), that every picture has."
            )

    def score(self, candidates: Candidates) -> Scores:
        """The quota for the first chosen token of a picture, one less for each further one, 0 for the others."""
        score = candidates.hidden.new_zeros(candidates.valid.shape, dtype=torch.float32)
        place, numbers = _places(candidates), self.numbers(candidates)
        grids = torch.tensor([self._grid_of(candidates, row) for row in range(len(place))], device=place.device)
        size, columns = grids.prod(1, keepdim=True), grids[:, 1:]
        inside = place % size
        points = torch.stack([inside.div(columns, rounding_mode="floor"), inside % columns], -1)
        for row, picture, quota in quotas_per_image(candidates, place.div(size, rounding_mode="floor")):
            chosen = farthest_first(points[row, picture], quota, numbers[row, picture])
            score[row, picture[chosen]] = torch.arange(quota, 0, -1, device=score.device).float()
        return score

    def _grid_of(self, candidates: Candidates, row: int) -> tuple[int, int]:
        """Rows and columns of every picture of a row.

        Raises:
            ValueError: the row's tokens do not fill such grids.
        """
        placeholders = candidates.sequence.placeholders
        known = placeholders is not None
        n = int(placeholders[row].sum()) if known else candidates.n_prompt_tokens[row]
        grid = self.grid or _grid_of_tower(candidates.sequence.parts, n)
        missing = -n % math.prod(grid)
        # Without placeholders, a vision token that ends the row is not among the tokens.
        if missing > (0 if known else 1):
            raise ValueError(
                f"the tokens of a row must fill grids of {grid[0]} x {grid[1]} tokens, one for each picture; got {n} "
                f"in row {row}. Pass grid=(rows, columns), and ask about pictures of another grid in a batch of their "
                "own."
            )
        return grid


def _grid_of_tower(parts: ModelParts, n: int) -> tuple[int, int]:
    """The square grid of the tower's own size; that of n tokens, if only they are a square number."""
    config = parts.vision_tower.config
    side = config.image_size // config.patch_size
    if n % side**2 and math.isqrt(n) ** 2 == n:
        side = math.isqrt(n)
    return side, side


def _places(candidates: Candidates) -> Indices:
    """Number of each candidate among the row's placeholders; among its vision tokens if these are unknown."""
    placeholders, position = candidates.sequence.placeholders, candidates.sequence.position
    if placeholders is None:
        return candidates.vision_index
    return (placeholders.cumsum(1) - 1).gather(1, position).clamp(min=0)


def farthest_first(
    points: Int[Tensor, "point axis"], most: int, numbers: Float[Tensor, " point"]
) -> Int[Tensor, " chosen"]:
    """Indices of `most` points, each the farthest from those before it, in the order of choice.

    Args:
        points: places of the points, whole numbers, so that equal distances are equal.
        most: number of points to choose; at most the number of points.
        numbers: numbers in [0, 1), the largest of which decides between points that are equally far, and the first one.

    >>> farthest_first(torch.tensor([[0, 0], [0, 1], [0, 2], [1, 2]]), 3, torch.tensor([0.1, 0.7, 0.3, 0.2]))
    tensor([1, 3, 2])
    """
    nearest = points.new_full(points.shape[:1], torch.iinfo(torch.int32).max)  # to a chosen point, squared
    chosen = []
    for _ in range(most):
        best = int((nearest + numbers.double()).argmax())
        chosen.append(best)
        nearest = torch.minimum(nearest, (points - points[best]).square().sum(1))
        nearest[best] = -1  # never chosen again, and later minima keep it
    return torch.tensor(chosen, dtype=torch.long, device=points.device)
