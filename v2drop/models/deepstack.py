"""Image features that a decoder adds to the output of its first layers (DeepStack, arXiv 2406.04334)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from v2drop.types import Columns, States


class Deepstack:
    """DeepStack features of one prompt, added to the surviving tokens only.

    The decoder itself would add them to every vision token of the prompt, with a mask that no longer fits once some are
    dropped. So they are removed from its arguments.

    Args:
        vision: flags of the caller's columns that get features, [batch, length].
        features: features of these columns, row after row, [tokens, dim]; one tensor for each of the first layers.
    """

    def __init__(self, vision: Bool[Tensor, "batch length"], features: list[Float[Tensor, "tokens dim"]]) -> None:
        self._vision, self._features = vision, features
        self._number = vision.flatten().cumsum(0).view_as(vision) - 1

    @classmethod
    def taken_from(cls, kwargs: dict[str, Any]) -> tuple[Deepstack | None, dict[str, Any]]:
        """The features in a decoder's arguments (None if there are none), and the arguments without them."""
        features = kwargs.get("deepstack_visual_embeds")
        if not features:
            return None, kwargs
        deepstack = cls(kwargs["visual_pos_masks"], list(features))
        return deepstack, kwargs | {"visual_pos_masks": None, "deepstack_visual_embeds": None}

    def add_to(self, layer: int, states: States, position: Columns) -> States:
        """Hidden states with the layer's features added.

        Args:
            layer: decoder layer that computed `states`.
            states: output of the layer, [batch, columns, dim].
            position: position of each column in the caller's sequence; -1 for a new token that has none.
        """
        if layer >= len(self._features):
            return states
        position = position.to(self._vision.device)
        has_features = self._vision.gather(1, position.clamp(min=0)) & (position >= 0)
        rows, features = self._number.gather(1, position.clamp(min=0))[has_features], self._features[layer]
        features = features[rows.to(features.device)]
        has_features, states = has_features.to(states.device), states.clone()
        states[has_features] = states[has_features] + features.to(states)
        return states
