"""What a model was called with, as far as its decoder is not told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from v2drop.models.parts import ModelParts, is_vision


@dataclass(frozen=True)
class ModelCall:
    """Of one forward pass; a text model's is empty but for the mask.

    Attributes:
        placeholders: of pictures and videos, [batch, length]; None if nobody knows.
        mask: the model's own attention mask, of which a family may make others for its decoder.
        counted: the model was given no position ids, and counts by the first layer's cache.
    """

    placeholders: Bool[Tensor, "batch length"] | None = None
    mask: Any = None
    counts_by_cache: bool = False

    @classmethod
    def from_receiver(cls, kwargs: dict[str, Any], parts: ModelParts) -> ModelCall:
        """What the receiver was called with."""
        ids = kwargs.get("input_ids")
        placeholders = None if ids is None else is_vision(ids, parts.vision_ids)
        return cls(placeholders, kwargs.get("attention_mask"), kwargs.get("position_ids") is None)

    def with_decoder(self, kwargs: dict[str, Any], parts: ModelParts) -> ModelCall:
        """For a text model, what its decoder was called with."""
        return self if parts.vlm_module is not None else replace(self, mask=kwargs.get("attention_mask"))

    @property
    def padding_mask(self) -> Tensor | None:
        """The mask if it is [batch, all tokens so far], 0 in padding; else None."""
        return self.mask if isinstance(self.mask, Tensor) and self.mask.ndim == 2 else None
