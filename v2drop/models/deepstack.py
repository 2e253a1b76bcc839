"""Features of pictures that a decoder adds after its first layers (DeepStack, arXiv 2406.04334), to survivors only."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from v2drop.types import Columns, States


class Deepstack:
    """The features of one prompt, taken from the decoder, which would add them to all of its tokens.

    Args:
        vision: which of the caller's columns they are for, [batch, length].
        features: of all of them, row after row, one tensor a layer.
    """

    def __init__(self, vision: Bool[Tensor, "batch length"], features: list[Float[Tensor, "tokens dim"]]) -> None:
        self._vision, self._features = vision, features
        self._number = vision.flatten().cumsum(0).view_as(vision) - 1

    @classmethod
    def taken_from(cls, kwargs: dict[str, Any]) -> tuple[Deepstack | None, dict[str, Any]]:
        """What a decoder is to add, and its arguments without it."""
        features = kwargs.get("deepstack_visual_embeds")
        if not features:
            return None, kwargs
        found = cls(kwargs["visual_pos_masks"], list(features))
        return found, kwargs | {"visual_pos_masks": None, "deepstack_visual_embeds": None}

    def add_to(self, layer: int, states: States, position: Columns) -> States:
        """What a layer wrote, with its features.

        Args:
            layer: that wrote it.
            states: what it wrote.
            position: of the columns in the caller's sequence; -1 for a token that is none of the caller's.
        """
        if layer >= len(self._features):
            return states
        position = position.to(self._vision.device)
        here = self._vision.gather(1, position.clamp(min=0)) & (position >= 0)
        rows, features = self._number.gather(1, position.clamp(min=0))[here], self._features[layer]
        features = features[rows.to(features.device)]
        here, states = here.to(states.device), states.clone()
        states[here] = states[here] + features.to(states)
        return states
