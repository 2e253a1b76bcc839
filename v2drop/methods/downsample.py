"""Downsample: shrink the picture itself, the baseline that VTC-Bench measures others by (arXiv 2510.07143)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from v2drop import checks
from v2drop.methods.in_tower import InTower
from v2drop.models import Parts
from v2drop.schedule import Schedule
from v2drop.short_tower import ShortTowerWatcher
from v2drop.watcher import Watcher


@dataclass(frozen=True)
class Downsample(InTower):
    """A picture is resized (bicubic, antialiased) to so few patches that the tower gives no more tokens than are left.

    Of the grids that fit, with at least as many columns as rows and at most twice as many, the one of most patches is
    taken, and of these the squarest: 8 x 8 for 64 of 24 x 24, 8 x 16 for 128, 12 x 16 for 192. Where none hits the
    count, fewer tokens are left. The tower interpolates its position embeddings. A token goes by the patch of the full
    picture nearest to its centre. This is written from the idea; no released code was read.
    """

    released: ClassVar[Schedule] = Schedule({0: 0.25}, label="half of each side")

    def check_model(self, parts: Parts) -> None:
        """Refuse a tower whose position embeddings lie on disk or in another memory until they are called.

        Raises:
            ValueError: they do; they are interpolated without a call.
        """
        super().check_model(parts)
        if parts.tower.embeddings.position_embedding.weight.device.type == "meta":
            raise ValueError(
                "Downsample interpolates the vision tower's position embeddings, which are offloaded; keep the tower "
                "on a device that computes (device_map)."
            )

    def watcher(self) -> Watcher:
        """Resizes, and notes of it."""
        return ResizingWatcher(self)


class ResizingWatcher(ShortTowerWatcher):
    """Resizes what the tower is given."""

    def __init__(self, method: InTower) -> None:
        """Nothing ran yet."""
        super().__init__()
        self._method = method

    def hooks(self, parts: Parts, layers: tuple[int, ...]) -> list[Any]:
        """On the tower."""
        resize = partial(self._resize, self._method.per_picture(parts))
        return [parts.tower.register_forward_pre_hook(resize, with_kwargs=True), *super().hooks(parts, layers)]

    def _resize(self, left: int, tower: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        size = tower.config.patch_size
        side = tower.config.image_size // size
        if left >= side**2:
            return None
        kwargs = checks.by_name(tower, args, kwargs)
        pictures, sides = kwargs["pixel_values"], grid(left, side)
        token, home = places(sides, side)
        self.token, self.home = (x.to(pictures.device).expand(len(pictures), -1) for x in (token, home))
        # Some devices resize no half-precision numbers.
        small = interpolate(pictures.float(), [n * size for n in sides], mode="bicubic", antialias=True)
        return (), kwargs | {"pixel_values": small.to(pictures), "interpolate_pos_encoding": True}


def grid(most: int, side: int) -> tuple[int, int]:
    """Rows and columns of at most `most` patches on a square of `side` by `side`.

    >>> [grid(most, 24) for most in (64, 128, 192, 56, 23, 3, 1)]
    [(8, 8), (8, 16), (12, 16), (7, 8), (4, 5), (1, 2), (1, 1)]
    """
    sides = range(1, side + 1)
    fit = [
        (rows, columns) for rows in sides for columns in sides if rows * columns <= most and rows <= columns <= 2 * rows
    ]
    return max(fit, key=lambda size: (size[0] * size[1], size[0]))


def places(sides: tuple[int, int], side: int) -> tuple[Tensor, Tensor]:
    """For a small grid on a square one: nearest small patch of each large one, nearest large patch of each small one.

    >>> places((1, 2), 4)[1]
    tensor([ 9, 11])
    """
    large = torch.arange(side)
    rows, columns = ((2 * large + 1) * n // (2 * side) for n in sides)
    token = rows[:, None] * sides[1] + columns
    rows, columns = ((2 * torch.arange(n) + 1) * side // (2 * n) for n in sides)
    home = rows[:, None] * side + columns
    return token.flatten(), home.flatten()
