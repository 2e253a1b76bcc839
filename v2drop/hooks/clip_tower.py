"""What a CLIP vision tower notes for methods that reduce pictures before the language model."""

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
    """Notes queries, keys and output of the tower's layer whose features the model takes; pictures in prompt order.

    Notes outlive a forward pass, for `generate` without a cache runs the tower once only.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._seen: dict[str, Tensor] = {}

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On one layer of the tower."""
        layer = parts.vision_tower.encoder.layers[parts.vision_feature_layer]
        self._heads, self._scaling = layer.self_attn.num_heads, layer.self_attn.scale
        noted = {"queries": layer.self_attn.q_proj, "keys": layer.self_attn.k_proj, "output": layer}
        noted["projected"] = parts.projector
        return [module.register_forward_hook(partial(self._note, name)) for name, module in noted.items()]

    def _note(self, name: str, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._seen[name] = output if name in ("output", "projected") else output.detach()

    def for_candidates(self, values: Shaped[Tensor, "images patches *rest"], candidates: Candidates) -> Tensor:
        """What is said of every patch, for the candidates, [batch, vision, ...]; anything in padding."""
        n_seen = values.shape[0] * values.shape[1]
        numbers = patch_numbers(candidates, n_seen).masked_fill(~candidates.valid, 0)
        numbers = numbers.clamp(max=n_seen - 1).to(values.device)
        return values.flatten(0, 1)[numbers].to(candidates.valid.device)

    def check(self, candidates: Candidates) -> None:
        """Refuse candidates of other pictures than those the tower saw last.

        Raises:
            ValueError: their embeddings are not what the projector made.
        """
        projected, real = self._seen.get("projected"), candidates.valid
        if projected is None or not torch.equal(
            self.for_candidates(projected, candidates)[real], candidates.hidden[real].to(projected.dtype)
        ):
            raise ValueError(
                "the pictures' features must come from this model's tower inside this `with`; got others (of another "
                "run, or changed since). Pass pixel_values."
            )

    @property
    def features(self) -> Float[Tensor, "images patches width"]:
        """Of the patches, before the projector."""
        return self._seen["output"][:, 1:]

    @property
    def class_feature(self) -> Float[Tensor, "images width"]:
        """Of the class token, before the projector."""
        return self._seen["output"][:, 0]

    @property
    def keys(self) -> Float[Tensor, "images patches angle"]:
        """Of the patches, mean over heads, as the projection gives them."""
        return self._seen["keys"].unflatten(-1, (self._heads, -1)).mean(2)[:, 1:]

    @property
    def attention(self) -> Float[Tensor, "images heads patches"]:
        """Weights, float32, with which the class token attends to the patches."""
        return self.logits.softmax(-1)[:, :, 1:]

    @property
    def logits(self) -> Float[Tensor, "images heads positions"]:
        """Of these weights, the class token in front."""
        queries, keys = (self._seen[name].unflatten(-1, (self._heads, -1)).float() for name in ("queries", "keys"))
        return torch.einsum("bhd,bkhd->bhk", queries[:, 0], keys) * self._scaling


def patch_numbers(candidates: Candidates, n_seen: int | None = None) -> Indices:
    """Which patch of all pictures of the batch, laid end to end, each candidate is; anything in padding.

    Args:
        candidates: of a prompt.
        n_seen: patches that the tower saw. Beams repeat rows, and `generate` may have run the tower before that: then
            the copies of a row share its patches.

    Raises:
        ValueError: the image placeholders are not known.
    """
    placeholders = candidates.sequence.placeholders
    if placeholders is None:
        raise ValueError("with inputs_embeds nobody knows which picture a token is of; pass input_ids.")
    counts = placeholders.sum(1)
    times = max(1, int(counts.sum()) // n_seen) if n_seen else 1
    before = (counts[::times].cumsum(0) - counts[::times]).repeat_interleave(times)[: len(counts)]
    numbers = placeholders.cumsum(1) - 1 + before[:, None]
    return numbers.gather(1, candidates.sequence.position)
