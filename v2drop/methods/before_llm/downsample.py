"""Downsample: shrink the picture itself, the baseline that VTC-Bench measures others by (arXiv 2510.07143)."""

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
    """A picture is resized (bicubic, antialiased) to so few patches that the tower gives no more tokens than are left.

    Of the grids that fit, with at least as many columns as rows and at most twice as many, the one of most patches is
    taken, and of these the squarest: 8 x 8 for 64 of 24 x 24, 8 x 16 for 128, 12 x 16 for 192. Where none hits the
    count, fewer tokens are left. The tower interpolates its position embeddings. A token goes by the patch of the full
    picture nearest to its centre. This is written from the idea; no released code was read.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 0.25}, label="half of each side")

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a tower whose position embeddings lie on disk or in another memory until they are called.

        Raises:
            ValueError: they do; they are interpolated without a call.
        """
        super().check_model(parts)
        if parts.vision_tower.embeddings.position_embedding.weight.device.type == "meta":
            raise ValueError(
                "Downsample interpolates the vision tower's position embeddings, which are offloaded; keep the tower "
                "on a device that computes (device_map)."
            )

    def hooks(self) -> Hooks:
        """Resizes, and notes of it."""
        return ResizingHooks(self.tokens_per_image)
