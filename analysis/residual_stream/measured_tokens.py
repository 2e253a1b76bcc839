"""Which prompts, layers and tokens of a batch are measured, and the columns that name them in a frame."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis.progress import progress_bar
from analysis.residual_stream.decoder_inputs import decoder_inputs
from analysis.residual_stream.frozen_decoder import FrozenDecoder
from analysis.residual_stream.stream import Stream
from v2drop.arguments import whole_numbers
from v2drop.models.parts import ModelParts, is_vision, locate

Tokens = Any  # None, positions for all rows, positions for each row, or a boolean mask; lists, arrays or tensors


def layers_at(n_layers: int, depths: Sequence[float]) -> list[int]:
    """The layers l before drops at some depths, shares of the layers; ascending, each once, a layer behind each.

    >>> layers_at(12, (1 / 12, 1 / 3, 5 / 6)), layers_at(4, (1 / 12, 1 / 3, 5 / 6)), layers_at(2, (1 / 12, 5 / 6))
    ([0, 3, 9], [0, 2], [0])
    """
    return sorted({max(0, min(round(depth * n_layers) - 1, n_layers - 2)) for depth in depths})


def check_layers(model: nn.Module, layers: Any) -> list[int]:
    """The layer numbers, ascending.

    Args:
        model: A model of a supported family.
        layers: A layer number or several different ones.

    Raises:
        ValueError: No layer is given, one twice, or one that the model does not have.
    """
    return list(whole_numbers("layers", layers, 0, len(locate(model).layers) - 1))


def measured_prompts(
    decoder: FrozenDecoder, model: nn.Module, inputs: Mapping[str, Any], tokens: Tokens
) -> Iterator[tuple[int, Stream, Tensor]]:
    """The prompts of a batch that have tokens to measure, without their padding.

    Args:
        decoder: The model's decoder.
        model: The model.
        inputs: The keyword arguments that the model is called with; rows may be padded.
        tokens: Positions in the batch, the same in every row or a list for each, or a BoolTensor [batch, sequence];
            None for the vision tokens that dropping chooses from: all image placeholders but one that ends a row.

    Yields:
        Three values: the prompt's row in the batch, its stream, and the positions within the prompt of the tokens.

    Raises:
        ValueError: No token is given or found, one is given twice or is padding, or the attention mask is not
            [batch, sequence].
    """
    first, present = decoder_inputs(model, inputs), inputs.get("attention_mask")
    shape, device = first.states.shape[:2], first.states.device
    if present is not None and present.ndim != 2:
        raise ValueError(
            f"attention_mask must be [batch, sequence], 1 where there is a token; got {list(present.shape)}."
        )
    present = torch.ones(shape, device=device).bool() if present is None else present.bool().to(device)
    measured = _token_mask(decoder.parts, inputs, tokens, present)
    rows = measured.any(1).nonzero().flatten().tolist()
    for row in progress_bar(rows, desc="prompts", unit="prompt") if len(rows) > 1 else rows:
        columns = present[row].nonzero().flatten()
        yield row, Stream(decoder, first, row, columns), measured[row, columns].nonzero().flatten()


def _token_mask(parts: ModelParts, inputs: Mapping[str, Any], tokens: Tokens, present: Tensor) -> Tensor:
    """The tokens to measure, bool [batch, sequence]; checked."""
    mask = _requested_tokens(parts, inputs, tokens, present).to(present.device)
    if not mask.any():
        raise ValueError(
            "there must be at least one token to measure; tokens= named none, or no row has a vision token to drop."
        )
    if (mask & ~present).any():
        row, column = (mask & ~present).nonzero()[0].tolist()
        raise ValueError(f"tokens must not be padding; got position {column}, which is padding in row {row}.")
    return mask


def _requested_tokens(parts: ModelParts, inputs: Mapping[str, Any], tokens: Tokens, present: Tensor) -> Tensor:
    if tokens is not None:
        return _mask_of_positions(tokens, present)
    if parts.vlm_module is None or inputs.get("input_ids") is None:
        raise ValueError("the vision tokens of this model or these inputs are not known; pass tokens=.")
    last = present.shape[1] - 1 - present.int().flip(1).argmax(1)
    placeholders = is_vision(inputs["input_ids"].to(present.device), parts.vision_ids)
    return placeholders.scatter(1, last[:, None], False)


def _mask_of_positions(tokens: Tokens, present: Tensor) -> Tensor:
    """The positions or mask that a caller gave, as bool [batch, sequence]."""
    if getattr(tokens, "dtype", None) in (torch.bool, bool):
        if tuple(tokens.shape) != tuple(present.shape):
            raise ValueError(f"tokens must be a BoolTensor {list(present.shape)}; got {list(tokens.shape)}.")
        return torch.as_tensor(tokens)
    batch, length = present.shape
    listed = _listed(tokens) if _is_list(_listed(tokens)) else [_listed(tokens)]
    listed = [_listed(x) for x in listed]
    rows = listed if any(map(_is_list, listed)) else [listed] * batch
    if len(rows) != batch:
        raise ValueError(f"tokens must be positions for each of {batch} rows; got {len(rows)} lists of them.")
    mask = torch.zeros_like(present)
    for row, positions in enumerate(rows):
        if not _is_list(positions) or any(type(p) is not int or not 0 <= p < length for p in positions):
            raise ValueError(
                f"tokens must be positions in [0, {length - 1}], the same in every row or a list for each, or a "
                f"boolean mask {[batch, length]}; got {positions!r}."
            )
        if len(set(positions)) < len(positions):
            raise ValueError(
                f"tokens must be different positions (a mask must be boolean, no list of 0 and 1); got {positions}."
            )
        mask[row, list(positions)] = True
    return mask


def _listed(tokens: Any) -> Any:
    """Arrays and tensors as lists, their numbers as Python's; anything else as it is."""
    return tokens.tolist() if hasattr(tokens, "tolist") else tokens


def _is_list(tokens: Any) -> bool:
    return isinstance(tokens, Collection) and not isinstance(tokens, (str, bytes, Mapping))


def token_keys(sample: int, layers: Sequence[int], stream: Stream, tokens: Tensor) -> pd.DataFrame:
    """The key columns of a frame with one row per (sample, layer, token).

    Args:
        sample: The prompt's row in the batch.
        layers: Layer numbers.
        stream: The prompt.
        tokens: Positions within the prompt.

    Returns:
        sample, layer, and token: the token's position in the batch.
    """
    columns = stream.columns[tokens].tolist()
    return pd.DataFrame(
        {"sample": sample, "layer": np.repeat(list(layers), len(columns)), "token": np.tile(columns, len(layers))}
    )
