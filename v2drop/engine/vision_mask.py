"""Which columns of a prompt are vision tokens: the placeholders, or those that the user marks."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from v2drop.models.calling import decoder_input
from v2drop.models.parts import ModelParts


class VisionMask:
    """The `vision_mask` of one `with`.

    Args:
        mask: BoolTensor [batch, sequence]; None: the placeholders count.
        parts: of the model.

    Raises:
        ValueError: the mask is no such tensor, or it is missing for a text model.
    """

    def __init__(self, mask: Tensor | None, parts: ModelParts) -> None:
        """Check it."""
        if mask is None and parts.vlm_module is None:
            raise ValueError(
                "a text model has no vision tokens of its own; pass vision_mask=, a BoolTensor [batch, sequence] of "
                "the prompt positions that may be dropped."
            )
        if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim != 2):
            got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"vision_mask must be a BoolTensor [batch, sequence]; got {got}.")
        self.mask, self._decoder, self._fitted = mask, parts.decoder, False

    def for_prompt(self, kwargs: dict[str, Any], placeholders: Tensor | None) -> Bool[Tensor, "batch length"]:
        """Flags of a prompt's columns.

        Args:
            kwargs: of the decoder's call.
            placeholders: of pictures and videos; None if nobody knows them.

        Raises:
            ValueError: the mask does not fit; or there is none, and the model was called with `inputs_embeds`.
        """
        if self.mask is None and placeholders is None:
            raise ValueError("with inputs_embeds the image tokens cannot be told from text; pass vision_mask=.")
        if self.mask is None:
            return placeholders
        mask = _fitted(self.mask, self._decoder, kwargs, may_grow=self._fitted)
        self._fitted = True
        return mask


def _fitted(
    mask: Bool[Tensor, "rows columns"], decoder: nn.Module, kwargs: dict[str, Any], may_grow: bool
) -> Bool[Tensor, "batch length"]:
    """The user's mask on the rows and columns of a prompt.

    Rows are repeated as `generate` repeats a prompt for its beams. Without a cache `generate` runs the growing
    sequence anew (`may_grow`, after a first fit); what follows the mask is text.

    Raises:
        ValueError: it does not fit.
    """
    given = decoder_input(kwargs)
    batch, length = given.shape[:2]
    rows, columns = mask.shape
    cached = kwargs.get("use_cache")
    cached = decoder.config.use_cache if cached is None else cached
    grown = may_grow and not cached and length > columns
    repeated = batch % rows == 0 and (batch == rows or grown or _repeats(given, batch // rows))
    if not repeated or not (columns == length or grown):
        raise ValueError(
            f"vision_mask must be [{batch}, {length}], as the prompt is (with draft tokens, if a method of generation "
            f"adds them to it); got {[rows, columns]}."
        )
    mask = mask.to(given.device).repeat_interleave(batch // rows, 0)
    return torch.cat([mask, mask.new_zeros(batch, length - columns)], 1)


def _repeats(given: Tensor, times: int) -> bool:
    groups = given.unflatten(0, (-1, times))
    return bool((groups == groups[:, :1]).all())
