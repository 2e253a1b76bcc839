"""`InTower`, the base class of methods whose vision tower gives fewer tokens than an image has patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from v2drop.engine.contract import Candidates, Selection
from v2drop.methods.before_llm.base import BeforeLLM, quotas_per_image
from v2drop.models.parts import ModelParts
from v2drop.types import Scores


@dataclass(frozen=True)
class InTower(BeforeLLM):
    """A method that reduces images before the prompt is known: each to the schedule's share of its patches.

    A token takes the placeholder of one of its patches and scores the number of its patches there. The other
    placeholders score 0 and are dropped. Images are rounded one by one, so a row of several images may keep a few
    tokens fewer than its count.

    Args:
        schedule: schedule with layer 0 only; a share, if rows have several images.

    Raises:
        ValueError: the schedule has other layers, or `protect` is given: a protected placeholder may hold no token; on
            a model, if it has no CLIP tower; in a forward pass, if it is a count and a row has several images.
    """

    merges_tokens: ClassVar[bool] = True
    exact_count: ClassVar[bool] = False
    cannot_protect: ClassVar[str] = "merges patches in the tower, where none can be left out"

    def tokens_per_image(self, parts: ModelParts) -> int:
        """Number of tokens that an image becomes; all its patches if the schedule leaves 0 (nothing is merged then)."""
        n = (parts.vision_tower.config.image_size // parts.vision_tower.config.patch_size) ** 2
        return self.schedule.after(n)[0] or n

    def score(self, candidates: Candidates) -> Scores:
        """Number of patches of the token at each placeholder; 0 where there is no token."""
        tower = candidates.sequence.hooks
        tower.check(candidates)
        return tower.for_candidates(tower.patches_per_token, candidates)

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """The placeholders with a token, at most as many as the schedule leaves."""
        quotas = quotas_per_image(candidates)
        self._check_counts(candidates, [row for row, _, _ in quotas])
        keep = torch.zeros_like(candidates.valid)
        for row, image, quota in quotas:
            n_patches = scores[row, image]
            best = n_patches.argsort(descending=True, stable=True)[:quota]
            keep[row, image[best]] = n_patches[best] > 0
        return Selection(keep, keep.sum(1).tolist())

    def _check_counts(self, candidates: Candidates, rows: list[int]) -> None:
        """Refuse a count for a row of several images; `rows` holds the row of each image."""
        is_count = isinstance(self.schedule.left[0], int)
        for row, (n, n_keep) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
            if is_count and rows.count(row) > 1 and 0 < n_keep < n:
                raise ValueError(
                    f"{type(self).__name__} shortens pictures before it is known which of them share a row; got "
                    f"{n_keep} tokens for the {rows.count(row)} pictures of row {row}. Give a share, as in "
                    f"Schedule({{0: {n_keep / n:.3g}}})."
                )
