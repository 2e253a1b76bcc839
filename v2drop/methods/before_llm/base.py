"""`BeforeLLM`, the base class of methods that drop tokens before the language model, image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.clip_tower import ClipTowerHooks, patch_numbers
from v2drop.methods.base import Method
from v2drop.sequence.position_ids import Positions
from v2drop.types import Indices, Scores


@dataclass(frozen=True)
class BeforeLLM(Method):
    """A method that drops at layer 0 only, the same share of each image of a row, and repacks position ids.

    Args:
        schedule: schedule with layer 0 only, such as `Schedule({0: 64})`; a count is for all images of a row together.

    Raises:
        ValueError: the schedule has other layers; on a model, if the method needs a CLIP tower that the model lacks.
    """

    positions: Positions | range = field(default="repack", kw_only=True)

    before_llm: ClassVar[bool] = True
    needs_tower: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # place of a patch in its image

    def __post_init__(self) -> None:
        """Check that the only drop layer is 0."""
        super().__post_init__()
        if self.schedule.layers != (0,):
            raise ValueError(
                f"{type(self).__name__} acts before the language model; allowed: layer 0 alone, as in "
                f"Schedule({{0: 64}}); got layers {self.schedule.layers}."
            )

    def hooks(self) -> Hooks:
        """Records of the vision tower, if the method needs them."""
        return ClipTowerHooks() if self.needs_tower else Hooks()

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """The highest scores of each image."""
        keep = torch.zeros_like(candidates.valid)
        for row, image, quota in quotas_per_image(candidates):
            best = scores[row, image].argsort(descending=True, stable=True)[:quota]
            keep[row, image[best]] = True
        return Selection(keep, candidates.n_keep)


def quotas_per_image(
    candidates: Candidates, image: Indices | None = None
) -> list[tuple[int, Int[Tensor, " image"], int]]:
    """Number of candidates that each image keeps.

    A row's count is divided in proportion to the images' candidates. The sum over the first images of a row is rounded
    down, so the quotas add up to the row's count.

    Args:
        candidates: candidates of a prompt.
        image: number of each candidate's image, ascending in a row; None: `image_numbers`.

    Returns:
        For each image of each row, in order: the row, the indices of the image's candidates, and its quota.
    """
    quotas = []
    image = image_numbers(candidates) if image is None else image
    for row, (n, n_keep) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
        sizes = torch.unique_consecutive(image[row, :n], return_counts=True)[1].tolist() if n else []
        start = 0
        for size in sizes:
            quota = n_keep * (start + size) // n - n_keep * start // n
            quotas.append((row, torch.arange(start, start + size, device=image.device), quota))
            start += size
    return quotas


def image_numbers(candidates: Candidates) -> Indices:
    """Number of each candidate's image in the batch; 0 everywhere if placeholders or the CLIP tower are unknown."""
    sequence = candidates.sequence
    if sequence.placeholders is None or sequence.parts.vision_tower is None:
        return torch.zeros_like(candidates.vision_index)
    config = sequence.parts.vision_tower.config
    return patch_numbers(candidates) // (config.image_size // config.patch_size) ** 2
