"""Resizing of pictures before the vision tower (Downsample)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from v2drop.hooks.merged_tower import MergedTowerHooks
from v2drop.models.calling import arguments_by_name
from v2drop.models.parts import ModelParts


class ResizingHooks(MergedTowerHooks):
    """Resizes what the tower is given."""

    def __init__(self, tokens_per_image: Callable[[ModelParts], int]) -> None:
        """Nothing ran yet."""
        super().__init__()
        self._tokens_per_image = tokens_per_image

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On the tower."""
        resize = partial(self._resize, self._tokens_per_image(parts))
        return [
            parts.vision_tower.register_forward_pre_hook(resize, with_kwargs=True),
            *super().install(parts, drop_layers),
        ]

    def _resize(self, left: int, tower: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        size = tower.config.patch_size
        side = tower.config.image_size // size
        if left >= side**2:
            return None
        kwargs = arguments_by_name(tower, args, kwargs)
        pictures, sides = kwargs["pixel_values"], grid_of_at_most(left, side)
        token_of_patch, patch_of_token = nearest_patches(sides, side)
        self.token_of_patch, self.patch_of_token = (
            x.to(pictures.device).expand(len(pictures), -1) for x in (token_of_patch, patch_of_token)
        )
        # Some devices resize no half-precision numbers.
        small = interpolate(pictures.float(), [n * size for n in sides], mode="bicubic", antialias=True)
        return (), kwargs | {"pixel_values": small.to(pictures), "interpolate_pos_encoding": True}


def grid_of_at_most(most: int, side: int) -> tuple[int, int]:
    """Rows and columns of at most `most` patches on a square of `side` by `side`.

    >>> [grid(most, 24) for most in (64, 128, 192, 56, 23, 3, 1)]
    [(8, 8), (8, 16), (12, 16), (7, 8), (4, 5), (1, 2), (1, 1)]
    """
    sides = range(1, side + 1)
    fit = [
        (rows, columns) for rows in sides for columns in sides if rows * columns <= most and rows <= columns <= 2 * rows
    ]
    return max(fit, key=lambda size: (size[0] * size[1], size[0]))


def nearest_patches(sides: tuple[int, int], side: int) -> tuple[Tensor, Tensor]:
    """For a small grid on a square one: nearest small patch of each large one, nearest large patch of each small one.

    >>> places((1, 2), 4)[1]
    tensor([ 9, 11])
    """
    large = torch.arange(side)
    rows, columns = ((2 * large + 1) * n // (2 * side) for n in sides)
    token_of_patch = rows[:, None] * sides[1] + columns
    rows, columns = ((2 * torch.arange(n) + 1) * side // (2 * n) for n in sides)
    patch_of_token = rows[:, None] * side + columns
    return token_of_patch.flatten(), patch_of_token.flatten()
