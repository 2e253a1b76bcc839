"""DART: keep what is least like a few pivot tokens, and so least duplicated (arXiv 2502.11494)."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.selection import gather_columns
from v2drop.types import Indices, Scores

IMAGE_PIVOTS = TEXT_PIVOTS = 4

Pivots = Int[Tensor, "batch pivots"]  # their columns, in the order of their turns
There = Bool[Tensor, "batch pivots"]  # False where a row has fewer
Unlike = Float[Tensor, "batch pivots vision"]


@dataclass(frozen=True)
class DART(Method):
    r"""Pivots take turns; each takes the tokens with the largest :math:`-\cos(z_\text{pivot}, z_i)`.

    z is the final norm of the states. Pivots are the 4 image tokens and the 4 tokens of the text behind the picture
    whose rotated keys in the layer before are largest, :math:`\lVert k \rVert_1` over all heads. Image pivots stay;
    what else is to be left is shared out evenly among all pivots, the first of them taking one more where that does
    not divide. `score` is minus the place in which a token is taken, image pivots first; the rest share the lowest.

    The released code rounds what each pivot takes down, so that "128" keeps 4 + 8 * 16 = 132, and fails where a pivot
    is to take more than there are; here the schedule's count is what is left. Its pivots take turns in the order of a
    Python set; here image pivots do before text pivots and larger keys before smaller ones, or as `pivots` says.

    Args:
        schedule: from layer 1 on.
        pivots: positions in the prompt, as in a run of the released code: vision tokens and text behind the last of
            them, in their turns. For a schedule of one layer.

    Raises:
        ValueError: the schedule drops at layer 0; `pivots` are not different positions, or the schedule has several
            layers; in a forward pass, if one of them is neither a vision token nor text behind the last.
    """

    pivots: Sequence[int] | None = None

    first_layer: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True  # for the keys
    uses_query: ClassVar[bool] = True  # text behind the picture has pivots
    uses_position: ClassVar[bool] = True  # through the rotation of keys
    released_schedule: ClassVar[Schedule] = Schedule({2: 132 / 576}, label="DART, README example 128: 132 of 576")

    def __post_init__(self) -> None:
        """Check the pivots too."""
        super().__post_init__()
        if self.pivots is None:
            return
        pivots = tuple(self.pivots) if isinstance(self.pivots, Sequence) else ()
        positions = all(isinstance(p, Integral) and not isinstance(p, bool) and p >= 0 for p in pivots)
        if not pivots or not positions or len(set(pivots)) < len(pivots):
            raise ValueError(
                f"pivots must be different positions in the prompt, as in (35, 40, 612); got {self.pivots!r}."
            )
        if len(self.schedule.layers) > 1:
            raise ValueError(
                f"pivots are those of one drop; allowed: a schedule of one layer; got layers {self.schedule.layers}."
            )
        object.__setattr__(self, "pivots", pivots)  # a list would not be hashable

    def score(self, candidates: Candidates) -> Scores:
        """Minus the place in the order in which tokens are taken."""
        sequence, real = candidates.sequence, candidates.valid
        pivots, there = _pivots_by_key_norm(candidates) if self.pivots is None else _pivots_at(candidates, self.pivots)
        states = gather_columns(sequence.states, pivots), candidates.hidden
        normed = (sequence.parts.decoder.norm(x).to(real.device).float() for x in states)  # it may be on another device
        asked, known = (torch.nn.functional.normalize(x, dim=-1) for x in normed)
        unlike = -torch.einsum("bpd,bvd->bpv", asked, known)
        itself = (pivots[..., None] == sequence.columns[:, None]) & there[..., None] & real[:, None]
        left = torch.tensor(candidates.n_keep, device=real.device)[:, None]
        return -_take_turns(unlike.masked_fill(~real[:, None], -torch.inf), itself, there, left).float()


def _pivots_by_key_norm(candidates: Candidates) -> tuple[Pivots, There]:
    """Image pivots, then text pivots, each by falling L1 norm of their keys; ties go to the earlier."""
    sequence = candidates.sequence
    norms = sequence.hooks.projected.rotated_keys().float().abs().sum((2, 3))
    is_image = torch.zeros_like(sequence.text_after).scatter(1, sequence.columns, candidates.valid)
    found = []
    for flags, most in ((is_image, IMAGE_PIVOTS), (sequence.text_after, TEXT_PIVOTS)):
        columns = norms.masked_fill(~flags, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :most]
        found.append((columns, flags.gather(1, columns)))
    return tuple(torch.cat(both, 1) for both in zip(*found, strict=True))


def _pivots_at(candidates: Candidates, positions: Sequence[int]) -> tuple[Pivots, There]:
    """The pivots at these positions, of every row that has vision tokens.

    Raises:
        ValueError: one is neither a vision token nor text behind the last of them.
    """
    sequence = candidates.sequence
    pivots = torch.tensor(positions, device=sequence.columns.device).expand(len(sequence.columns), -1)
    is_image = torch.zeros_like(sequence.text_after).scatter(1, sequence.columns, candidates.valid)
    flags = torch.nn.functional.pad(
        is_image | sequence.text_after, (0, max(0, max(positions) + 1 - sequence.text_after.shape[1]))
    )
    there = flags.gather(1, pivots)
    wrong = [(row, positions[p]) for row, p in (~there & candidates.valid.any(1)[:, None]).nonzero().tolist()]
    if wrong:
        raise ValueError(
            "pivots must be positions of vision tokens or of text behind the last of them, in every row; got (row, "
            f"position) {', '.join(map(str, wrong))}."
        )
    return pivots.clamp(max=sequence.text_after.shape[1] - 1), there


def _take_turns(
    unlike: Unlike,
    itself: Bool[Tensor, "batch pivots vision"],
    there: There,
    left: Int[Tensor, "batch 1"],
) -> Indices:
    """The place in which each candidate is taken; the number that are left if it is not.

    Args:
        unlike: of each candidate to each pivot, -inf in padding.
        itself: whether the candidate is the pivot.
        there: pivots that a row has.
        left: how many candidates are taken.
    """
    image = itself.any(2)
    kept = torch.minimum(image.sum(1, keepdim=True), left)
    n_pivots = there.sum(1, keepdim=True).clamp(min=1)
    share, over = (left - kept) // n_pivots, (left - kept) % n_pivots
    quotas = (share + (there.cumsum(1) <= over)) * there
    first = kept + quotas.cumsum(1) - quotas
    place = torch.where(itself, image.cumsum(1)[..., None] - 1, left[..., None])
    places = torch.minimum(place.amin(1), left)  # of more image pivots than are left, the first
    for pivot in range(there.shape[1]):
        free = places == left
        order = unlike[:, pivot].masked_fill(~free, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(1)
        taken = free & (order < quotas[:, pivot, None])
        places = torch.where(taken, first[:, pivot, None] + order, places)
    return places
