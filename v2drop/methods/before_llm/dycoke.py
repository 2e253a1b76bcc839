"""DyCoke: drop what neighbouring video frames repeat, and hide unattended tokens in generation (arXiv 2411.15024)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from v2drop.arguments import share, whole_number
from v2drop.budgets.counting import share_of
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.visible_keys import VisibleKeysHooks
from v2drop.methods.before_llm.base import BeforeLLM, image_numbers
from v2drop.models.parts import ModelParts
from v2drop.types import Scores

WHOLE_FRAME = 2.0  # score of patches in whole frames; above every dissimilarity, which is at most 1


@dataclass(frozen=True)
class DyCoke(BeforeLLM):
    r"""Patch p of a pruned frame scores :math:`-\cos(x_p, y_p)` against the same patch of an earlier frame.

    x and y are embeddings after the projector. Of each four frames, the second is compared with the first, the third
    with the first, and the fourth with the third. The third frame of the last group is not pruned, as in the released
    code. A frame that is not pruned stays whole, so a single image loses nothing. `pruned_share` of each pruned frame
    is dropped. Without `pruned_share`, the schedule's count less the whole frames is divided among the pruned frames;
    if the whole frames have more tokens than the count, more tokens are left.

    The second stage hides vision tokens from deep layers during generation (`VisibleKeysHooks`).

    The released code emits tokens in order of similarity (here: in the order of the frame), loses the last of an odd
    number of frames, and crashes on four or fewer frames (here they are handled like any others).

    Args:
        schedule: schedule with layer 0 only.
        pruned_share: share of each pruned frame that is dropped (k in the release, 0.7); None: the schedule decides.
        frame_tokens: number of tokens of a frame; None: every image is a frame.
        visible_share: share of the vision tokens that stay visible to deep layers during generation (1 - p in the
            release); None: no second stage.
        hide_from_layer: first layer of the second stage, 1 or more.

    Raises:
        ValueError: the schedule has other layers; an option is out of range; on a model, if it has no layer
            `hide_from_layer`; in a forward pass, if it is unknown to which image a token belongs and `frame_tokens` is
            None.
    """

    pruned_share: float | None = None
    frame_tokens: int | None = None
    visible_share: float | None = None
    hide_from_layer: int = 3

    released_schedule: ClassVar[Schedule] = Schedule({0: 1.0}, label="DyCoke, README: by the share pruned k = 0.7")
    needs_frames: ClassVar[bool] = True
    needs_tower: ClassVar[bool] = False
    cannot_protect: ClassVar[str] = "compares frames token by token, of which none can be left out"
    exact_count: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the options too."""
        super().__post_init__()
        for name in ("pruned_share", "visible_share"):
            value = getattr(self, name)
            self._set(name, None if value is None else share(name, value))
        if self.frame_tokens is not None:
            self._set("frame_tokens", whole_number("frame_tokens", self.frame_tokens, 1))
        self._set("hide_from_layer", whole_number("hide_from_layer", self.hide_from_layer, 1))

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> BeforeLLM:
        """The method as released: 0.7 of each pruned frame is dropped, whatever the number of frames.

        Args:
            model: model of a supported family.
            options: options of the method.
        """
        return super().default(model, **{"pruned_share": 0.7} | options)

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model without the layer `hide_from_layer`, if there is a second stage.

        Raises:
            ValueError: the model has too few layers.
        """
        super().check_model(parts)
        if self.visible_share is not None and self.hide_from_layer >= len(parts.layers):
            raise ValueError(
                f"hide_from_layer must be one of the {len(parts.layers)} layers, from 1 on; got {self.hide_from_layer}."
            )

    def hooks(self) -> Hooks:
        """Hooks of the second stage, if there is one."""
        return Hooks() if self.visible_share is None else VisibleKeysHooks(self.hide_from_layer, self.visible_share)

    def score(self, candidates: Candidates) -> Scores:
        """Dissimilarity to the same patch of the earlier frame; 2 in whole frames and for patches without a partner."""
        score = candidates.hidden.new_full(candidates.valid.shape, WHOLE_FRAME, dtype=torch.float32)
        for row, frames in enumerate(self._frames(candidates)):
            for pruned, reference in compared(len(frames)).items():
                n_common = min(len(frames[pruned]), len(frames[reference]))
                tokens, partners = frames[pruned][:n_common], frames[reference][:n_common]
                x, y = (candidates.hidden[row, indices].float() for indices in (tokens, partners))
                score[row, tokens] = -torch.cosine_similarity(x, y, dim=-1)
        return score

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """All tokens of whole frames, and the highest scores of each pruned frame."""
        keep = candidates.valid.clone()
        for row, frames in enumerate(self._frames(candidates)):
            pruned = [frames[frame] for frame in sorted(compared(len(frames)))]
            n_pruned = sum(map(len, pruned))
            n_keep, start = max(0, candidates.n_keep[row] - (candidates.n_candidates[row] - n_pruned)), 0
            for frame in pruned:
                quota = n_keep * (start + len(frame)) // n_pruned - n_keep * start // n_pruned
                quota = quota if self.pruned_share is None else share_of(1 - self.pruned_share, len(frame))
                start += len(frame)
                dropped = scores[row, frame].argsort(descending=True, stable=True)[quota:]
                keep[row, frame[dropped]] = False
        return Selection(keep, keep.sum(1).tolist())

    def _frames(self, candidates: Candidates) -> list[list[Int[Tensor, " _frame"]]]:
        """Indices of the candidates of each frame, per row."""
        size, sequence = self.frame_tokens, candidates.sequence
        if size is None and (sequence.placeholders is None or sequence.parts.vision_tower is None):
            raise ValueError(
                "it is not known to which image a token belongs; pass frame_tokens=, the number of tokens of a frame."
            )
        number = image_numbers(candidates) if size is None else candidates.vision_index // size
        frames = []
        for row, n in enumerate(candidates.n_candidates):
            sizes = torch.unique_consecutive(number[row, :n], return_counts=True)[1].tolist() if n else []
            frames.append(list(torch.arange(n, device=number.device).split(sizes)) if sizes else [])
        return frames


def compared(n_frames: int) -> dict[int, int]:
    """Pruned frames, each with the earlier frame that it is compared with.

    >>> compared(7)
    {1: 0, 3: 2, 5: 4, 2: 0}
    """
    pairs = {frame + 1: frame for frame in range(0, n_frames - 1, 2)}
    return pairs | {frame + 2: frame for frame in range(0, n_frames - 4, 4)}
