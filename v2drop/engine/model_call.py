"""Arguments of a model's call that its decoder does not receive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from v2drop.models.parts import ModelParts, is_vision


@dataclass(frozen=True)
class ModelCall:
    """Arguments of one call of a model. For a text model, only the mask is known.

    Attributes:
        placeholders: flags of image and video placeholders, [batch, length]; None if the call has no `input_ids`, and
            for text models.
        mask: attention mask that the model was called with; a family may call its decoder with another one.
        counts_by_cache: whether the model was called without position ids, and counts the tokens in the first layer's
            cache instead.
    """

    placeholders: Bool[Tensor, "batch length"] | None = None
    mask: Any = None
    counts_by_cache: bool = False

    @classmethod
    def from_vlm_module(cls, kwargs: dict[str, Any], parts: ModelParts) -> ModelCall:
        """The call of `parts.vlm_module` with the arguments `kwargs`."""
        ids = kwargs.get("input_ids")
        placeholders = None if ids is None else is_vision(ids, parts.vision_ids)
        return cls(placeholders, kwargs.get("attention_mask"), kwargs.get("position_ids") is None)

    def with_decoder(self, kwargs: dict[str, Any], parts: ModelParts) -> ModelCall:
        """This call completed from the decoder's arguments `kwargs`: for a text model, the mask is theirs."""
        return self if parts.vlm_module is not None else replace(self, mask=kwargs.get("attention_mask"))

    @property
    def padding_mask(self) -> Tensor | None:
        """The mask if it is 2-D, [batch, tokens so far], 0 in padding; else None."""
        return self.mask if isinstance(self.mask, Tensor) and self.mask.ndim == 2 else None
