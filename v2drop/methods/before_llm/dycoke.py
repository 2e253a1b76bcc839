"""DyCoke: of a video's neighbouring frames keep what differs; while generating, see what is looked at (2411.15024)."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from v2drop.budgets.counting import share_of
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.visible_keys import VisibleKeysHooks
from v2drop.methods.before_llm.base import BeforeLLM, image_numbers
from v2drop.models.parts import ModelParts
from v2drop.types import Scores

WHOLE = 2.0  # above every dissimilarity, 1 at most


@dataclass(frozen=True)
class DyCoke(BeforeLLM):
    r"""Patch p of a pruned frame scores :math:`-\cos(x_p, y_p)` against the same patch of an earlier, whole frame.

    Of each four frames, the second is compared with the first, the fourth with the third, and the third with the first,
    but for the last group's third, as in the released code. The others stay whole. Of each pruned frame `pruned_share` is
    dropped; without it, what the schedule leaves beside whole frames is shared out among the pruned ones. Fewer than
    the whole frames cannot be left, and a single picture loses nothing. Embeddings are compared, after the projector.
    The released code emits tokens in order of similarity (here: of the picture), loses the last of an odd number of
    frames and crashes on four or fewer (here they stay).

    The second stage hides vision tokens from deep layers during generation (`VisibleKeysHooks`); with beams a row is
    compared with what stood in its place at the step before.

    Args:
        schedule: of layer 0 alone.
        ratio: share of each pruned frame that is dropped (the released k, 0.7); None: by the schedule.
        frame_tokens: tokens of a frame, in prompt order; None: every picture is a frame.
        seen: share of the vision tokens that deep layers see while generating (the released p is 1 - seen); None: all,
            without the second stage.
        deep: the first layer that sees no more than those.

    Raises:
        ValueError: an option is none of these, or `hide_from_layer` is no layer of the model; in a forward pass, if it is not
            known where pictures are and `frame_tokens` is not given.
    """

    pruned_share: float | None = None
    frame_tokens: int | None = None
    visible_share: float | None = None
    hide_from_layer: int = 3

    released_schedule: ClassVar[Schedule] = Schedule({0: 1.0}, label="DyCoke, README: by the share pruned k = 0.7")
    needs_frames: ClassVar[bool] = True
    needs_tower: ClassVar[bool] = False
    exact_count: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the second stage too."""
        super().__post_init__()
        for name in ("pruned_share", "visible_share"):
            share = getattr(self, name)
            if share is not None and (isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1):
                raise ValueError(f"{name} must be a share in [0, 1], or None; got {share!r}.")
        for name in ("frame_tokens", "hide_from_layer"):
            number = getattr(self, name)
            if (name, number) != ("frame_tokens", None) and not _positive(number):
                raise ValueError(f"{name} must be an int of 1 or more; got {number!r}.")

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> BeforeLLM:
        """As released: by the share pruned, whatever the number of frames."""
        return super().default(model, **{"pruned_share": 0.7} | options)

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model without the layer `hide_from_layer`, if it matters.

        Raises:
            ValueError: it has too few layers.
        """
        super().check_model(parts)
        if self.visible_share is not None and self.hide_from_layer >= len(parts.layers):
            raise ValueError(
                f"hide_from_layer must be one of the {len(parts.layers)} layers, from 1 on; got {self.hide_from_layer}."
            )

    def hooks(self) -> Hooks:
        """The second stage."""
        return Hooks() if self.visible_share is None else VisibleKeysHooks(self.hide_from_layer, self.visible_share)

    def score(self, candidates: Candidates) -> Scores:
        """Dissimilarity to the frame compared with; more than any for whole frames, and patches it does not have."""
        score = candidates.hidden.new_full(candidates.valid.shape, WHOLE, dtype=torch.float32)
        for row, frames in enumerate(self._frames(candidates)):
            for frame, against in compared(len(frames)).items():
                these, those = frames[frame], frames[against]
                both = min(len(these), len(those))
                a, b = (candidates.hidden[row, x[:both]].float() for x in (these, those))
                score[row, these[:both]] = -torch.cosine_similarity(a, b, dim=-1)
        return score

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """Whole frames, and of each pruned one its share of what the schedule leaves beside them."""
        keep = candidates.valid.clone()
        for row, frames in enumerate(self._frames(candidates)):
            pruned = [frames[frame] for frame in sorted(compared(len(frames)))]
            n = sum(map(len, pruned))
            left, start = max(0, candidates.n_keep[row] - (candidates.n_candidates[row] - n)), 0
            for frame in pruned:
                quota = left * (start + len(frame)) // n - left * start // n
                quota = quota if self.pruned_share is None else share_of(1 - self.pruned_share, len(frame))
                start += len(frame)
                lost = score[row, frame].argsort(descending=True, stable=True)[quota:]
                keep[row, frame[lost]] = False
        return Selection(keep, keep.sum(1).tolist())

    def _frames(self, candidates: Candidates) -> list[list[Int[Tensor, " _frame"]]]:
        """Per row, the candidates of each frame."""
        size, whole = self.frame_tokens, candidates.sequence
        if size is None and (whole.placeholders is None or whole.parts.vision_tower is None):
            raise ValueError("nobody knows which picture a token is of; pass frame_tokens=, the tokens of a frame.")
        number = image_numbers(candidates) if size is None else candidates.vision_index // size
        result = []
        for row, n in enumerate(candidates.n_candidates):
            sizes = torch.unique_consecutive(number[row, :n], return_counts=True)[1].tolist() if n else []
            result.append(list(torch.arange(n, device=number.device).split(sizes)) if sizes else [])
        return result


def _positive(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool) and number > 0


def compared(n_frames: int) -> dict[int, int]:
    """Which frames are pruned, each with the one it is compared with.

    >>> compared(7)
    {1: 0, 3: 2, 5: 4, 2: 0}
    """
    pairs = {frame + 1: frame for frame in range(0, n_frames - 1, 2)}
    return pairs | {frame + 2: frame for frame in range(0, n_frames - 4, 4)}
