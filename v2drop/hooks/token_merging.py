"""Merging of similar tokens in every block of the vision tower (ToMe)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from v2drop.hooks.merged_tower import MergedTowerHooks
from v2drop.models.devices import to_device
from v2drop.models.parts import ModelParts
from v2drop.scoring.bipartite_merging import match_tokens, merge_tokens, merges_per_block


class TokenMergingHooks(MergedTowerHooks):
    """Merges between attention and MLP of each block, with hooks alone.

    A block adds its MLP's output to what came into its second norm, which is longer. So the MLP's output is held back,
    a zero goes on in its place, and the sum of what was merged and the held back becomes the block's output.
    """

    def __init__(self, tokens_per_image: Callable[[ModelParts], int]) -> None:
        """Nothing ran yet."""
        super().__init__()
        self._tokens_per_image = tokens_per_image

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On the blocks up to the one that gives the features."""
        blocks = parts.vision_tower.encoder.layers[: parts.vision_feature_layer + 1]
        handles = [parts.vision_tower.register_forward_pre_hook(partial(self._start, parts), with_kwargs=True)]
        for number, block in enumerate(blocks):
            attention = block.self_attn
            handles += [
                attention.register_forward_pre_hook(self._weigh, with_kwargs=True),
                attention.k_proj.register_forward_hook(partial(self._note_keys, attention.num_heads)),
                block.layer_norm2.register_forward_pre_hook(partial(self._merge, number)),
                block.mlp.register_forward_hook(self._hold_back),
                # First of all hooks, for transformers records a block's output in one of its own.
                block.register_forward_hook(self._add, prepend=True),
            ]
        return [*handles, *super().install(parts, drop_layers)]

    def _start(self, parts: ModelParts, tower: nn.Module, args: tuple, kwargs: dict) -> None:
        config, left = tower.config, self._tokens_per_image(parts)
        self._numbers = merges_per_block(
            (config.image_size // config.patch_size) ** 2, left, parts.vision_feature_layer + 1
        )
        self._sizes = self._short = self._held = self.token_of_patch = self.patch_of_token = None

    def _weigh(self, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self._sizes is None:
            return None
        bias = self._sizes.log()[:, None, None].expand(-1, 1, self._sizes.shape[1], -1)
        return args, kwargs | {"attention_mask": bias.to(kwargs["hidden_states"].dtype)}

    def _note_keys(self, heads: int, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._keys = output.unflatten(-1, (heads, -1)).mean(2)

    def _merge(self, number: int, _: nn.Module, args: tuple) -> tuple | None:
        states, n_merged = args[0], self._numbers[number]
        if not n_merged:
            return None
        if self._sizes is not None:  # of the block before, which may be on another device
            self._sizes, self.token_of_patch, self.patch_of_token = to_device(
                (self._sizes, self.token_of_patch, self.patch_of_token), states.device
            )
        else:
            self._sizes = states.new_ones(states.shape[:2], dtype=torch.float32)
            patches = torch.arange(states.shape[1] - 1, device=states.device).expand(len(states), -1)
            self.token_of_patch, self.patch_of_token = patches, patches
        stay, goes = match_tokens(self._keys, n_merged)
        self._short, self._sizes = merge_tokens(states, self._sizes, goes, stay.shape[1])
        # The class token is the first of all, here and there, and no patch.
        self.token_of_patch = goes[:, 1:].gather(1, self.token_of_patch) - 1
        self.patch_of_token = self.patch_of_token.gather(1, stay[:, 1:] - 1)
        return (self._short,)

    def _hold_back(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        if self._short is None:
            return None
        self._held = output
        return output.new_zeros(())

    def _add(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        if self._short is None:
            return None
        output, self._short, self._held = self._short + self._held, None, None
        return output
