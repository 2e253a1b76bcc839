"""Hooks that resize images before the vision tower (Downsample)."""

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
    """Resizes the images that enter the tower.

    Args:
        tokens_per_image: largest number of tokens that an image may become, as a function of the model's modules.
    """

    def __init__(self, tokens_per_image: Callable[[ModelParts], int]) -> None:
        """Start with no notes."""
        super().__init__()
        self._tokens_per_image = tokens_per_image

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook the tower and the projector."""
        resize = partial(self._resize, self._tokens_per_image(parts))
        return [
            parts.vision_tower.register_forward_pre_hook(resize, with_kwargs=True),
            *super().install(parts, drop_layers),
        ]

    def _resize(self, n_tokens: int, tower: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        size = tower.config.patch_size
        side = tower.config.image_size // size
        if n_tokens >= side**2:
            return None
        kwargs = arguments_by_name(tower, args, kwargs)
        images, grid = kwargs["pixel_values"], grid_of_at_most(n_tokens, side)
        token_of_patch, patch_of_token = nearest_patches(grid, side)
        self.token_of_patch, self.patch_of_token = (
            x.to(images.device).expand(len(images), -1) for x in (token_of_patch, patch_of_token)
        )
        # In float32, because some devices cannot interpolate in half precision.
        small = interpolate(images.float(), [n * size for n in grid], mode="bicubic", antialias=True)
        return (), kwargs | {"pixel_values": small.to(images), "interpolate_pos_encoding": True}


def grid_of_at_most(most: int, side: int) -> tuple[int, int]:
    """Rows and columns of the largest grid of at most `most` patches, with columns from rows to twice rows.

    Among grids with the same number of patches, the one with more rows is taken.

    Args:
        most: largest number of patches.
        side: patches along a side of the full image; rows and columns are at most this.

    >>> [grid_of_at_most(most, 24) for most in (64, 128, 192, 56, 23, 3, 1)]
    [(8, 8), (8, 16), (12, 16), (7, 8), (4, 5), (1, 2), (1, 1)]
    """
    sides = range(1, side + 1)
    grids = [
        (rows, columns) for rows in sides for columns in sides if rows * columns <= most and rows <= columns <= 2 * rows
    ]
    return max(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))


def nearest_patches(sides: tuple[int, int], side: int) -> tuple[Tensor, Tensor]:
    """Nearest patches between a small grid and a full square grid that cover the same image.

    Args:
        sides: rows and columns of the small grid.
        side: rows, and columns, of the full grid.

    Returns:
        The nearest small patch of each full patch, [side * side], and the nearest full patch of each small patch,
        [rows * columns].

    >>> nearest_patches((1, 2), 4)[1]
    tensor([ 9, 11])
    """
    full = torch.arange(side)
    rows, columns = ((2 * full + 1) * n // (2 * side) for n in sides)
    token_of_patch = rows[:, None] * sides[1] + columns
    rows, columns = ((2 * torch.arange(n) + 1) * side // (2 * n) for n in sides)
    patch_of_token = rows[:, None] * side + columns
    return token_of_patch.flatten(), patch_of_token.flatten()
