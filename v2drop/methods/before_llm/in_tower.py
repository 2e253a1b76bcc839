"""What methods have in common whose tower gives fewer tokens than there are patches."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import torch

from v2drop.engine.contract import Candidates, Selection
from v2drop.methods.before_llm.base import BeforeLLM, quotas_per_image
from v2drop.models.parts import ModelParts
from v2drop.types import Scores


@dataclass(frozen=True)
class InTower(BeforeLLM):
    """A method that shortens pictures before the prompt is known: each to the schedule's share of its own patches.

    A token scores the number of patches it is made of, at the place of the patch by which it goes; places at which none
    stands score 0 and are dropped. A row whose count is not a multiple of its pictures' has some tokens fewer left.

    Args:
        schedule: of layer 0 alone; a share where rows have several pictures.

    Raises:
        ValueError: the schedule has another layer; on a model, if it has no CLIP tower; in a forward pass, if a row of
            several pictures meets a count.
    """

    merges_tokens: ClassVar[bool] = True
    exact_count: ClassVar[bool] = False

    def tokens_per_image(self, parts: ModelParts) -> int:
        """How many tokens a picture becomes; all its patches where none are left, for then nothing is to be made."""
        n = (parts.vision_tower.config.image_size // parts.vision_tower.config.patch_size) ** 2
        return self.schedule.after(n)[0] or n

    def score(self, candidates: Candidates) -> Scores:
        """Patches per token."""
        tower = candidates.sequence.hooks
        tower.check(candidates)
        return tower.for_candidates(tower.patches_per_token, candidates)

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """The places at which a token stands."""
        pictures = quotas_per_image(candidates)
        self._check_counts(candidates, [row for row, _, _ in pictures])
        keep = torch.zeros_like(candidates.valid)
        for row, picture, quota in pictures:
            there = score[row, picture]
            best = there.argsort(descending=True, stable=True)[:quota]
            keep[row, picture[best]] = there[best] > 0
        return Selection(keep, keep.sum(1).tolist())

    def _check_counts(self, candidates: Candidates, rows: list[int]) -> None:
        counted = isinstance(self.schedule.left[0], Integral)
        for row, (n, left) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
            if counted and rows.count(row) > 1 and 0 < left < n:
                raise ValueError(
                    f"{type(self).__name__} shortens pictures before it is known which of them share a row; got "
                    f"{left} tokens for the {rows.count(row)} pictures of row {row}. Give a share, as in "
                    f"Schedule({{0: {left / n:.3g}}})."
                )
