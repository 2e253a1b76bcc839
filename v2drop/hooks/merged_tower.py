"""Hooks for vision towers that give fewer tokens than an image has patches: tokens are copied back to the patches."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from v2drop.hooks.clip_tower import ClipTowerHooks
from v2drop.models.devices import to_device
from v2drop.models.parts import ModelParts


class MergedTowerHooks(ClipTowerHooks):
    """Base class of hooks that merge patches, in the tower or before it.

    A model requires one embedding per placeholder. So a merged token is copied to all its patches here, and a drop at
    layer 0 keeps one copy. Subclasses set the two attributes in each run of the tower.

    Attributes:
        token_of_patch: index of the merged token that contains each patch, [images, patches].
        patch_of_token: patch whose placeholder each merged token keeps, [images, tokens]; None if nothing was merged.
    """

    def __init__(self) -> None:
        """Start with no notes."""
        super().__init__()
        self.token_of_patch: Int[Tensor, "images patches"] | None = None
        self.patch_of_token: Int[Tensor, "images tokens"] | None = None

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook the projector."""
        return [parts.projector.register_forward_hook(self._copy_to_patches)]

    def _copy_to_patches(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor:
        if self.patch_of_token is not None:
            # The tower may be on another device than the projector.
            self.token_of_patch, self.patch_of_token = to_device(
                (self.token_of_patch, self.patch_of_token), output.device
            )
            output = output.gather(1, self.token_of_patch[..., None].expand(-1, -1, output.shape[2]))
        self._notes["projected"] = output
        return output

    @property
    def patches_per_token(self) -> Float[Tensor, "images patches"]:
        """Number of patches in the merged token that keeps each patch's placeholder; 0 where no token keeps it."""
        count = self._notes["projected"].new_ones(self._notes["projected"].shape[:2], dtype=torch.float32)
        if self.patch_of_token is None:
            return count
        sizes = torch.zeros_like(self.patch_of_token, dtype=count.dtype).scatter_add(1, self.token_of_patch, count)
        return torch.zeros_like(count).scatter(1, self.patch_of_token, sizes)
