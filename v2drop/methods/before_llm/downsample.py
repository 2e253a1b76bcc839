"""Downsample: resize the image before the vision tower, the baseline of VTC-Bench (arXiv 2510.07143)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Hooks
from v2drop.hooks.resizing import ResizingHooks
from v2drop.methods.before_llm.in_tower import InTower
from v2drop.models.parts import ModelParts


@dataclass(frozen=True)
class Downsample(InTower):
    """Resize an image (bicubic, antialiased) so that the tower gives at most as many tokens as the schedule leaves.

    The grid of patches has at least as many columns as rows, and at most twice as many. Of the grids that fit, the one
    with most patches is taken, and of these the squarest: for a full grid of 24 x 24, 8 x 8 for 64 tokens, 8 x 16 for
    128, 12 x 16 for 192. If no grid has exactly the count, fewer tokens are left. The tower interpolates its position
    embeddings. A token takes the placeholder of the full image's patch nearest to its centre. This is an implementation
    of the idea; no released code was read.

    Args:
        schedule: schedule with layer 0 only; a share, if rows have several images.

    Raises:
        ValueError: as `InTower`; on a model, if the tower's position embeddings are offloaded.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 0.25}, label="half of each side")

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a tower whose position embeddings are offloaded until their module is called.

        The tower interpolates their weight without calling the module, so it would not be loaded.

        Raises:
            ValueError: the position embeddings are offloaded, or the model has no CLIP tower.
        """
        super().check_model(parts)
        if parts.vision_tower.embeddings.position_embedding.weight.device.type == "meta":
            raise ValueError(
                "Downsample interpolates the vision tower's position embeddings, which are offloaded; keep the tower "
                "on a device that computes (device_map)."
            )

    def hooks(self) -> Hooks:
        """Hooks that resize images."""
        return ResizingHooks(self.tokens_per_image)
