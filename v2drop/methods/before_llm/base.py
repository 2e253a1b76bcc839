"""What methods have in common that reduce pictures before the language model sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.clip_tower import ClipTowerHooks, patch_numbers
from v2drop.methods.base import Method
from v2drop.types import Indices, Scores


@dataclass(frozen=True)
class BeforeLLM(Method):
    """A method that shortens the sequence at layer 0, each picture of a row to an equal share, and repacks positions.

    Args:
        schedule: of layer 0 alone, as in `Schedule({0: 64})`; a row's count is for all its pictures together.

    Raises:
        ValueError: the schedule has another layer; on a model, if it has no CLIP tower.
    """

    positions: ClassVar[Literal["keep", "repack"]] = "repack"
    before_llm: ClassVar[bool] = True
    needs_tower: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # of a patch in its picture

    def __post_init__(self) -> None:
        """Check that nothing is dropped later."""
        super().__post_init__()
        if self.schedule.layers != (0,):
            raise ValueError(
                f"{type(self).__name__} acts before the language model; allowed: layer 0 alone, as in "
                f"Schedule({{0: 64}}); got layers {self.schedule.layers}."
            )

    def hooks(self) -> Hooks:
        """Notes of the tower."""
        return ClipTowerHooks() if self.needs_tower else Hooks()

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """The highest scores of each picture."""
        keep = torch.zeros_like(candidates.valid)
        for row, picture, quota in quotas_per_image(candidates):
            best = score[row, picture].argsort(descending=True, stable=True)[:quota]
            keep[row, picture[best]] = True
        return Selection(keep, candidates.n_keep)


def quotas_per_image(candidates: Candidates) -> list[tuple[int, Int[Tensor, " picture"], int]]:
    """Each picture of each row: the row, the picture's candidates, and how many of them will be left.

    A row's count is shared out in proportion to the candidates, to the tokens of all pictures up to one rounded down.
    Where placeholders are not known, a row's tokens are one picture.
    """
    result = []
    picture = image_numbers(candidates)
    for row, (n, left) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
        sizes = torch.unique_consecutive(picture[row, :n], return_counts=True)[1].tolist() if n else []
        start = 0
        for size in sizes:
            quota = left * (start + size) // n - left * start // n
            result.append((row, torch.arange(start, start + size, device=picture.device), quota))
            start += size
    return result


def image_numbers(candidates: Candidates) -> Indices:
    """Which picture of the batch each candidate is of; 0 where placeholders are not known."""
    sequence = candidates.sequence
    if sequence.placeholders is None or sequence.parts.vision_tower is None:
        return torch.zeros_like(candidates.vision_index)
    config = sequence.parts.vision_tower.config
    return patch_numbers(candidates) // (config.image_size // config.patch_size) ** 2
