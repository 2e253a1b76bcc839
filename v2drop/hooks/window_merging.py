"""Merging of alike 3 x 3 windows in the vision tower, and notes of attention (MustDrop)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from v2drop.hooks.attention import AttentionHooks
from v2drop.hooks.merged_tower import MergedTowerHooks
from v2drop.models.parts import ModelParts
from v2drop.scoring.patch_windows import MERGED_FROM_COSINE, mean_pairwise_cosine, n_key_tokens, patch_windows


class WindowMergingHooks(MergedTowerHooks):
    """Merges windows after the tower's first block, and notes its last layer's attention and that of the text.

    The tower keeps its length: a window's token stands at its first patch, and the other eight are hidden from all
    blocks that follow, for pictures of a batch may have different numbers of tokens.

    Attributes:
        text: of the language model's layers before drops.
    """

    def __init__(self) -> None:
        """Nothing ran yet."""
        super().__init__()
        self.text = AttentionHooks()
        self._hidden: Bool[Tensor, "images patches"] | None = None

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On all blocks of the tower, and the language model's."""
        first, *others = parts.vision_tower.encoder.layers
        last = parts.vision_tower.encoder.layers[-1].self_attn
        self._heads, self._scaling = last.num_heads, last.scale
        # First of all hooks, for transformers records a block's output in one of its own.
        handles = [first.register_forward_hook(self._merge, prepend=True)]
        handles += [block.self_attn.register_forward_pre_hook(self._hide, with_kwargs=True) for block in others]
        for name, module in {"queries": last.q_proj, "keys": last.k_proj}.items():
            handles.append(module.register_forward_hook(partial(self._note, name)))
        return [*handles, *super().install(parts, drop_layers), *self.text.install(parts, drop_layers)]

    def _merge(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        patches = output[:, 1:]
        own = torch.arange(patches.shape[1], device=output.device).expand(patches.shape[:2])
        window = patch_windows(round(patches.shape[1] ** 0.5)).to(output.device)
        members = patches[:, window]
        merged = mean_pairwise_cosine(members) >= MERGED_FROM_COSINE
        self.token_of_patch, self.patch_of_token, self._hidden = own, None, None
        if not merged.any():
            return None
        firsts = window[:, 0]
        leader = torch.where(merged[..., None], firsts[:, None], window).flatten(1)
        self.token_of_patch = own.scatter(1, window.flatten().expand_as(leader), leader)
        self.patch_of_token, self._hidden = own, self.token_of_patch != own
        tokens = torch.where(merged[..., None], members.float().mean(2).to(output.dtype), patches[:, firsts])
        return output.index_copy(1, 1 + firsts, tokens)

    def _hide(self, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self._hidden is None:
            return None
        states = kwargs["hidden_states"]
        bias = states.new_zeros(states.shape[:2])
        bias[:, 1:].masked_fill_(self._hidden.to(bias.device), torch.finfo(states.dtype).min)
        bias = bias[:, None, None].expand(-1, 1, states.shape[1], -1)
        return args, kwargs | {"attention_mask": bias}

    @property
    def key(self) -> Bool[Tensor, "images patches"]:
        """The best 8 % of a picture's tokens, rounded up, by the class token's attention, mean over heads."""
        logits, hidden = self.logits, self._hidden
        hidden = torch.zeros_like(self.token_of_patch, dtype=torch.bool) if hidden is None else hidden
        hidden = hidden.to(logits.device)  # blocks may be on several
        logits[:, :, 1:].masked_fill_(hidden[:, None], -torch.inf)
        score = logits.softmax(-1).mean(1)[:, 1:].masked_fill(hidden, -torch.inf)
        order = score.argsort(dim=1, descending=True, stable=True)
        place = torch.arange(score.shape[1], device=score.device).expand_as(order)
        best = place < n_key_tokens((~hidden).sum(1, keepdim=True))
        return torch.zeros_like(hidden).scatter(1, order, best)

    def pass_ends(self) -> None:
        """Let go of the text's tensors; those of pictures outlive a pass."""
        self.text.pass_ends()
