"""The vision tokens of a prompt: its image placeholders, or the user's `vision_mask`."""

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
        mask: BoolTensor [batch, sequence], True at positions that may be dropped; None: the image placeholders.
        parts: modules of the model.

    Raises:
        ValueError: the mask is no such tensor, is empty, or is missing for a text model.
    """

    def __init__(self, mask: Tensor | None, parts: ModelParts) -> None:
        """Check type and shape of the mask."""
        if mask is None and parts.vlm_module is None:
            raise ValueError(
                "a text model has no vision tokens of its own; pass vision_mask=, a BoolTensor [batch, sequence] of "
                "the prompt positions that may be dropped."
            )
        if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim != 2):
            got = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"vision_mask must be a BoolTensor [batch, sequence]; got {got}.")
        if mask is not None:
            _check_values(mask)
        self.mask, self._decoder, self._was_used = mask, parts.decoder, False

    def for_prompt(self, kwargs: dict[str, Any], placeholders: Tensor | None) -> Bool[Tensor, "batch length"]:
        """Flags of a prompt's columns that may be dropped.

        Args:
            kwargs: arguments of the decoder's call.
            placeholders: flags of image and video placeholders; None if the model was called with `inputs_embeds`.

        Raises:
            ValueError: the mask has another shape than the prompt; or there is neither a mask nor placeholders.
        """
        if self.mask is None and placeholders is None:
            raise ValueError("with inputs_embeds the image tokens cannot be told from text; pass vision_mask=.")
        if self.mask is None:
            return placeholders
        mask = _expand_mask(self.mask, self._decoder, kwargs, may_grow=self._was_used)
        self._was_used = True
        return mask


def _check_values(mask: Bool[Tensor, "rows columns"]) -> None:
    """Refuse a mask without values, or one that cannot be read row by row.

    Raises:
        ValueError: the mask is on the meta device, is sparse, or is empty.
    """
    if mask.device.type == "meta":
        raise ValueError("vision_mask is on the meta device, which holds no values; make it on the model's device.")
    if mask.layout != torch.strided:
        raise ValueError(f"vision_mask must be a dense tensor; got {mask.layout}. vision_mask.to_dense() makes one.")
    if mask.numel() == 0:
        raise ValueError(f"vision_mask must have at least one row and one column; got {list(mask.shape)}.")


def _expand_mask(
    mask: Bool[Tensor, "rows columns"], decoder: nn.Module, kwargs: dict[str, Any], may_grow: bool
) -> Bool[Tensor, "batch length"]:
    """The user's mask for the rows and columns of a prompt.

    `generate` repeats the rows of a prompt for beams, and so are the mask's. Without a KV cache, `generate` runs each
    longer sequence as a new prompt; the columns after the mask are text.

    Args:
        mask: the user's mask.
        decoder: the decoder.
        kwargs: arguments of the decoder's call.
        may_grow: whether the prompt may be longer than the mask, because the mask has fitted a prompt before.

    Raises:
        ValueError: the mask fits the prompt neither exactly nor in one of these ways.
    """
    inputs = decoder_input(kwargs)
    batch, length = inputs.shape[:2]
    rows, columns = mask.shape
    use_cache = kwargs.get("use_cache")
    use_cache = decoder.config.use_cache if use_cache is None else use_cache
    grown = may_grow and not use_cache and length > columns
    repeated = batch % rows == 0 and (batch == rows or grown or _has_repeated_rows(inputs, batch // rows))
    if not repeated or not (columns == length or grown):
        raise ValueError(
            f"vision_mask must be [{batch}, {length}], as the prompt is (with draft tokens, if a method of generation "
            f"adds them to it); got {[rows, columns]}."
        )
    mask = mask.to(inputs.device).repeat_interleave(batch // rows, 0)
    return torch.cat([mask, mask.new_zeros(batch, length - columns)], 1)


def _has_repeated_rows(inputs: Tensor, times: int) -> bool:
    groups = inputs.unflatten(0, (-1, times))
    return bool((groups == groups[:, :1]).all())
