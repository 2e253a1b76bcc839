"""Hooks that merge similar tokens in every block of the vision tower (ToMe)."""

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
    """Merges tokens between attention and MLP of each block, by hooks only.

    A block computes x + MLP(norm(x)). Merging happens at the input of the norm, so the MLP's output is shorter than x
    and cannot be added to it. Therefore the MLP's output is replaced by a zero and kept here, and the block's output is
    replaced by the sum of the merged states and the MLP's output.

    Args:
        tokens_per_image: number of tokens that an image becomes, as a function of the model's modules.
    """

    def __init__(self, tokens_per_image: Callable[[ModelParts], int]) -> None:
        """Start with no notes."""
        super().__init__()
        self._tokens_per_image = tokens_per_image

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook the tower's blocks up to the one that gives the features, and the projector."""
        blocks = parts.vision_tower.encoder.layers[: parts.vision_feature_layer + 1]
        handles = [parts.vision_tower.register_forward_pre_hook(partial(self._start, parts), with_kwargs=True)]
        for number, block in enumerate(blocks):
            attention = block.self_attn
            handles += [
                attention.register_forward_pre_hook(self._add_size_bias, with_kwargs=True),
                attention.k_proj.register_forward_hook(partial(self._note_keys, attention.num_heads)),
                block.layer_norm2.register_forward_pre_hook(partial(self._merge, number)),
                block.mlp.register_forward_hook(self._keep_mlp_output),
                # Before other hooks, because transformers records a block's output in a hook of its own.
                block.register_forward_hook(self._add_mlp_output, prepend=True),
            ]
        return [*handles, *super().install(parts, drop_layers)]

    def _start(self, parts: ModelParts, tower: nn.Module, args: tuple, kwargs: dict) -> None:
        config, n_tokens = tower.config, self._tokens_per_image(parts)
        self._merges_per_block = merges_per_block(
            (config.image_size // config.patch_size) ** 2, n_tokens, parts.vision_feature_layer + 1
        )
        self._sizes = self._merged_states = self._mlp_output = self.token_of_patch = self.patch_of_token = None

    def _add_size_bias(self, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Proportional attention: add the logarithm of a token's size to its logits."""
        if self._sizes is None:
            return None
        bias = self._sizes.log()[:, None, None].expand(-1, 1, self._sizes.shape[1], -1)
        return args, kwargs | {"attention_mask": bias.to(kwargs["hidden_states"].dtype)}

    def _note_keys(self, heads: int, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._keys = output.unflatten(-1, (heads, -1)).mean(2)

    def _merge(self, number: int, _: nn.Module, args: tuple) -> tuple | None:
        states, n_merged = args[0], self._merges_per_block[number]
        if not n_merged:
            return None
        if self._sizes is not None:  # the block before may be on another device
            self._sizes, self.token_of_patch, self.patch_of_token = to_device(
                (self._sizes, self.token_of_patch, self.patch_of_token), states.device
            )
        else:
            self._sizes = states.new_ones(states.shape[:2], dtype=torch.float32)
            patches = torch.arange(states.shape[1] - 1, device=states.device).expand(len(states), -1)
            self.token_of_patch, self.patch_of_token = patches, patches
        remaining, place = match_tokens(self._keys, n_merged)
        self._merged_states, self._sizes = merge_tokens(states, self._sizes, place, remaining.shape[1])
        # Patches and tokens are counted without the class token, which is first before and after merging.
        self.token_of_patch = place[:, 1:].gather(1, self.token_of_patch) - 1
        self.patch_of_token = self.patch_of_token.gather(1, remaining[:, 1:] - 1)
        return (self._merged_states,)

    def _keep_mlp_output(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        if self._merged_states is None:
            return None
        self._mlp_output = output
        return output.new_zeros(())

    def _add_mlp_output(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        if self._merged_states is None:
            return None
        output, self._merged_states, self._mlp_output = self._merged_states + self._mlp_output, None, None
        return output
