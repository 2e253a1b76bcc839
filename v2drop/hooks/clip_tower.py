"""Hooks that record features and attention of a CLIP vision tower, for methods that drop before the language model."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from v2drop.engine.contract import Candidates, Hooks
from v2drop.models.parts import ModelParts
from v2drop.types import Indices


class ClipTowerHooks(Hooks):
    """Records the output, queries and keys of the tower layer that gives the model its image features.

    The notes last until the tower runs again. They outlive a forward pass, because `generate` without a cache runs the
    tower only once. Images come in the order of the prompts.
    """

    def __init__(self) -> None:
        """Start with no notes."""
        self._notes: dict[str, Tensor] = {}

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook the feature layer of the tower, and the projector."""
        layer = parts.vision_tower.encoder.layers[parts.vision_feature_layer]
        self._heads, self._scaling = layer.self_attn.num_heads, layer.self_attn.scale
        modules = {"queries": layer.self_attn.q_proj, "keys": layer.self_attn.k_proj, "output": layer}
        modules["projected"] = parts.projector
        return [module.register_forward_hook(partial(self._note, name)) for name, module in modules.items()]

    def _note(self, name: str, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._notes[name] = output if name in ("output", "projected") else output.detach()

    def for_candidates(self, values: Shaped[Tensor, "images patches *rest"], candidates: Candidates) -> Tensor:
        """Values of the candidates' patches, [batch, vision, ...]; any value in padding.

        Args:
            values: values of every patch of every image.
            candidates: candidates of a prompt.

        Raises:
            ValueError: the model was called with `inputs_embeds`, so the image placeholders are unknown.
        """
        n_patches = values.shape[0] * values.shape[1]
        numbers = patch_numbers(candidates, n_patches).masked_fill(~candidates.valid, 0)
        numbers = numbers.clamp(max=n_patches - 1).to(values.device)
        return values.flatten(0, 1)[numbers].to(candidates.valid.device)

    def check(self, candidates: Candidates) -> None:
        """Refuse candidates of other images than those on which the tower ran last.

        Raises:
            ValueError: the candidates' embeddings differ from the last output of the projector.
        """
        projected, valid = self._notes.get("projected"), candidates.valid
        if projected is None or not torch.equal(
            self.for_candidates(projected, candidates)[valid], candidates.hidden[valid].to(projected.dtype)
        ):
            raise ValueError(
                "the images' features must come from this model's vision tower inside this `with`; got others (from "
                "another run, or changed since). Pass pixel_values."
            )

    @property
    def features(self) -> Float[Tensor, "images patches width"]:
        """Features of the patches, before the projector."""
        return self._notes["output"][:, 1:]

    @property
    def class_feature(self) -> Float[Tensor, "images width"]:
        """Feature of the class token, before the projector."""
        return self._notes["output"][:, 0]

    @property
    def keys(self) -> Float[Tensor, "images patches angle"]:
        """Keys of the patches, mean over heads."""
        return self._notes["keys"].unflatten(-1, (self._heads, -1)).mean(2)[:, 1:]

    @property
    def attention(self) -> Float[Tensor, "images heads patches"]:
        """Attention weights of the class token on the patches, float32."""
        return self.logits.softmax(-1)[:, :, 1:]

    @property
    def logits(self) -> Float[Tensor, "images heads positions"]:
        """Attention logits of the class token on itself, position 0, and on the patches, float32."""
        queries, keys = (self._notes[name].unflatten(-1, (self._heads, -1)).float() for name in ("queries", "keys"))
        return torch.einsum("bhd,bkhd->bhk", queries[:, 0], keys) * self._scaling


def patch_numbers(candidates: Candidates, n_seen: int | None = None) -> Indices:
    """Number of each candidate's patch, counted through all images of the batch; any number in padding.

    Args:
        candidates: candidates of a prompt.
        n_seen: number of patches in the tower's last run; None: as many as the batch has placeholders. If the batch has
            several times as many, `generate` repeated its rows for beams after that run. The copies of a row then
            share its patches.

    Raises:
        ValueError: the model was called with `inputs_embeds`, so the image placeholders are unknown.
    """
    placeholders = candidates.sequence.placeholders
    if placeholders is None:
        raise ValueError(
            "with inputs_embeds it is not known to which image a token belongs, and this method needs that; pass "
            "input_ids."
        )
    counts = placeholders.sum(1)
    times = max(1, int(counts.sum()) // n_seen) if n_seen else 1
    before = (counts[::times].cumsum(0) - counts[::times]).repeat_interleave(times)[: len(counts)]
    numbers = placeholders.cumsum(1) - 1 + before[:, None]
    return numbers.gather(1, candidates.sequence.position)
