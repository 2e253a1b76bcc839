"""A vision tower that gives fewer features than a picture has patches, laid out on the patches again."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from v2drop.hooks.clip_tower import ClipTowerHooks
from v2drop.models.devices import to_device
from v2drop.models.parts import ModelParts


class MergedTowerHooks(ClipTowerHooks):
    """Remembers which patches each token of the tower stands for, and gives every placeholder its patch's token.

    A model counts its placeholders, so all of them get an embedding; a drop at layer 0 then leaves one for each token.

    Attributes:
        token: of which token each patch is part, [images, patches].
        home: by which patch each token goes, [images, tokens]. None: every patch is a token.
    """

    def __init__(self) -> None:
        """Nothing ran yet."""
        super().__init__()
        self.token_of_patch: Int[Tensor, "images patches"] | None = None
        self.patch_of_token: Int[Tensor, "images tokens"] | None = None

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On the projector."""
        return [parts.projector.register_forward_hook(self._lay_out)]

    def _lay_out(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor:
        if self.patch_of_token is not None:
            self.token_of_patch, self.patch_of_token = to_device(
                (self.token_of_patch, self.patch_of_token), output.device
            )  # pictures may come from another
            output = output.gather(1, self.token_of_patch[..., None].expand(-1, -1, output.shape[2]))
        self._seen["projected"] = output
        return output

    @property
    def patches_per_token(self) -> Float[Tensor, "images patches"]:
        """Of how many patches the token is made that goes by each patch; 0 if none does."""
        count = self._seen["projected"].new_ones(self._seen["projected"].shape[:2], dtype=torch.float32)
        if self.patch_of_token is None:
            return count
        of_token = torch.zeros_like(self.patch_of_token, dtype=count.dtype).scatter_add(1, self.token_of_patch, count)
        return torch.zeros_like(count).scatter(1, self.patch_of_token, of_token)
