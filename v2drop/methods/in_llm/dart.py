"""DART: keep the tokens that are least similar to a few pivot tokens, and so least redundant (arXiv 2502.11494)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from v2drop.arguments import whole_numbers
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.selection import gather_columns
from v2drop.types import Indices, Scores

IMAGE_PIVOTS = TEXT_PIVOTS = 4

Pivots = Int[Tensor, "batch pivots"]  # columns of the pivots, in the order of their turns
ValidPivots = Bool[Tensor, "batch pivots"]  # False where a row has fewer pivots
Dissimilarity = Float[Tensor, "batch pivots vision"]


@dataclass(frozen=True)
class DART(Method):
    r"""Each pivot takes the free tokens with the largest :math:`-\cos(z_\text{pivot}, z_i)`; taken tokens stay.

    z are the states after the decoder's final norm. Pivots are the 4 vision tokens and the 4 tokens of the text after
    the images whose rotated keys in the layer before have the largest norm, :math:`\lVert k \rVert_1` over all heads.
    That norm depends on the position; it is counted from the row's first token, whatever the position ids are, so that
    padding changes nothing. Vision pivots stay. The rest of the count is divided evenly among all pivots; if it does
    not divide, the first pivots take one token more. `score` is minus the place of a token in the order in which tokens
    are taken, vision pivots first. All tokens that are not taken share the lowest score.

    The released code rounds down the number that each pivot takes, so "128" keeps 4 + 8 * 16 = 132; here the schedule's
    count is left. It fails if a pivot has fewer free tokens than it must take. Its pivots take turns in the order of a
    Python set; here vision pivots come before text pivots and larger keys before smaller ones, or `pivots` gives the
    order.

    Args:
        schedule: drop layers from 1 on.
        pivots: positions of the pivots in the prompt, in the order of their turns: vision tokens, or text after the
            last vision token. With these, a run of the released code can be repeated; the schedule must have one layer
            only. None: pivots are chosen as above.

    Raises:
        ValueError: the schedule drops at layer 0; `pivots` are not different positions; the schedule has several layers
            and `pivots` are given; in a forward pass, if a pivot is neither a vision token nor text after the last one.
    """

    pivots: Sequence[int] | None = None

    first_layer: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True  # the keys
    uses_query: ClassVar[bool] = True  # text after the images has pivots
    uses_position: ClassVar[bool] = True  # through the rotation of keys
    released_schedule: ClassVar[Schedule] = Schedule({2: 132 / 576}, label="DART, README example 128: 132 of 576")

    def __post_init__(self) -> None:
        """Check the pivots too."""
        super().__post_init__()
        if self.pivots is None:
            return
        try:
            whole_numbers("pivots", tuple(self.pivots), 0)  # sorted, but their order is that of their turns
        except (ValueError, TypeError):
            raise ValueError(
                f"pivots must be different positions in the prompt, as in (35, 40, 612); got {self.pivots!r}."
            ) from None
        if len(self.schedule.layers) > 1:
            raise ValueError(
                f"pivots are those of one drop; allowed: a schedule of one layer; got layers {self.schedule.layers}."
            )
        self._set("pivots", tuple(map(int, self.pivots)))  # a tuple, because a list cannot be hashed

    def score(self, candidates: Candidates) -> Scores:
        """Minus the place in the order in which tokens are taken."""
        sequence, valid, chosen = candidates.sequence, candidates.valid, self.pivots
        pivots, valid_pivots = _pivots_by_key_norm(candidates) if chosen is None else _pivots_at(candidates, chosen)
        states = gather_columns(sequence.states, pivots), candidates.hidden
        normed = (sequence.parts.decoder.norm(x).to(valid.device).float() for x in states)  # maybe on another device
        pivot_states, token_states = (torch.nn.functional.normalize(x, dim=-1) for x in normed)
        dissimilarity = -torch.einsum("bpd,bvd->bpv", pivot_states, token_states)
        is_pivot = (pivots[..., None] == sequence.columns[:, None]) & valid_pivots[..., None] & valid[:, None]
        n_keep = torch.tensor(candidates.n_keep, device=valid.device)[:, None]
        dissimilarity = dissimilarity.masked_fill(~valid[:, None], -torch.inf)
        return -_take_turns(dissimilarity, is_pivot, valid_pivots, n_keep).float()


def _pivots_by_key_norm(candidates: Candidates) -> tuple[Pivots, ValidPivots]:
    """Vision pivots, then text pivots, each by falling L1 norm of their keys; ties go to the earlier token."""
    sequence = candidates.sequence
    hooks = sequence.hooks
    norms = hooks.projected.rotated_keys(hooks.start_angles).float().abs().sum((2, 3))
    is_vision = torch.zeros_like(sequence.text_after).scatter(1, sequence.columns, candidates.valid)
    pivots = []
    for flags, most in ((is_vision, IMAGE_PIVOTS), (sequence.text_after, TEXT_PIVOTS)):
        columns = norms.masked_fill(~flags, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :most]
        pivots.append((columns, flags.gather(1, columns)))
    return tuple(torch.cat(vision_and_text, 1) for vision_and_text in zip(*pivots, strict=True))


def _pivots_at(candidates: Candidates, positions: Sequence[int]) -> tuple[Pivots, ValidPivots]:
    """Pivots at the given positions, the same in every row.

    Raises:
        ValueError: a position of a row with vision tokens is neither a vision token nor text after the last one.
    """
    sequence = candidates.sequence
    pivots = torch.tensor(positions, device=sequence.columns.device).expand(len(sequence.columns), -1)
    is_vision = torch.zeros_like(sequence.text_after).scatter(1, sequence.columns, candidates.valid)
    flags = torch.nn.functional.pad(
        is_vision | sequence.text_after, (0, max(0, max(positions) + 1 - sequence.text_after.shape[1]))
    )
    valid_pivots = flags.gather(1, pivots)
    wrong = [(row, positions[p]) for row, p in (~valid_pivots & candidates.valid.any(1)[:, None]).nonzero().tolist()]
    if wrong:
        raise ValueError(
            "pivots must be positions of vision tokens or of text after the last of them, in every row; got (row, "
            f"position) {', '.join(map(str, wrong))}."
        )
    return pivots.clamp(max=sequence.text_after.shape[1] - 1), valid_pivots


def _take_turns(
    dissimilarity: Dissimilarity,
    is_pivot: Bool[Tensor, "batch pivots vision"],
    valid_pivots: ValidPivots,
    n_keep: Int[Tensor, "batch 1"],
) -> Indices:
    """Place of each candidate in the order in which candidates are taken; `n_keep` for all that are not taken.

    Args:
        dissimilarity: dissimilarity of each candidate to each pivot; -inf in padding.
        is_pivot: whether the candidate is the pivot itself.
        valid_pivots: False where a row has fewer pivots.
        n_keep: number of candidates that are taken, per row.
    """
    is_vision_pivot = is_pivot.any(2)
    n_vision_pivots = torch.minimum(is_vision_pivot.sum(1, keepdim=True), n_keep)
    n_pivots = valid_pivots.sum(1, keepdim=True).clamp(min=1)
    share, remainder = (n_keep - n_vision_pivots) // n_pivots, (n_keep - n_vision_pivots) % n_pivots
    quotas = (share + (valid_pivots.cumsum(1) <= remainder)) * valid_pivots
    first_place = n_vision_pivots + quotas.cumsum(1) - quotas
    pivot_place = torch.where(is_pivot, is_vision_pivot.cumsum(1)[..., None] - 1, n_keep[..., None])
    # If there are more vision pivots than n_keep, the first of them are taken.
    place = torch.minimum(pivot_place.amin(1), n_keep)
    for pivot in range(valid_pivots.shape[1]):
        free = place == n_keep
        free_scores = dissimilarity[:, pivot].masked_fill(~free, -torch.inf)
        order = free_scores.argsort(dim=1, descending=True, stable=True).argsort(1)
        taken = free & (order < quotas[:, pivot, None])
        place = torch.where(taken, first_place[:, pivot, None] + order, place)
    return place
