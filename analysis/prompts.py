"""Which prompts, layers and tokens of a batch are measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from analysis.network import Network, enter
from analysis.stream import Stream
from v2drop.models import Parts, is_vision, locate

Tokens = Any  # None, positions for all rows, positions for each row, or a boolean mask; lists, arrays or tensors


def check_layers(model: nn.Module, layers: Any) -> list[int]:
    """Ascending layer numbers.

    Raises:
        ValueError: there are none, or one lies outside the model.
    """
    n_layers = len(locate(model).layers)
    found = sorted({int(layer) for layer in ([layers] if isinstance(layers, Integral) else layers)})
    if not found or found[0] < 0 or found[-1] >= n_layers:
        raise ValueError(f"layers must lie in [0, {n_layers - 1}], at least one of them; got {found}.")
    return found


def prompts(
    network: Network, model: nn.Module, inputs: Mapping[str, Any], tokens: Tokens
) -> Iterator[tuple[int, Stream, Tensor]]:
    """Each row of a batch that has such tokens, without its padding.

    Yields:
        Its number, its stream, and where in it the tokens are.

    Raises:
        ValueError: the tokens cannot be found, are padding, or there are none.
    """
    entry, present = enter(model, inputs), inputs.get("attention_mask")
    shape, device = entry.states.shape[:2], entry.states.device
    if present is not None and present.ndim != 2:
        raise ValueError(
            f"attention_mask must be [batch, sequence], 1 where there is a token; got {list(present.shape)}."
        )
    present = torch.ones(shape, device=device).bool() if present is None else present.bool().to(device)
    chosen = _chosen(network.parts, inputs, tokens, present)
    rows = chosen.any(1).nonzero().flatten().tolist()
    for row in tqdm(rows, desc="prompts", unit="prompt") if len(rows) > 1 else rows:
        columns = present[row].nonzero().flatten()
        yield row, Stream(network, entry, row, columns), chosen[row, columns].nonzero().flatten()


def _chosen(parts: Parts, inputs: Mapping[str, Any], tokens: Tokens, present: Tensor) -> Tensor:
    chosen = _named(parts, inputs, tokens, present).to(present.device)
    if not chosen.any():
        raise ValueError(
            "there must be at least one token to measure; tokens= named none, or no row has a vision token to drop."
        )
    if (chosen & ~present).any():
        row, column = (chosen & ~present).nonzero()[0].tolist()
        raise ValueError(f"tokens must not be padding; got position {column}, which is padding in row {row}.")
    return chosen


def _named(parts: Parts, inputs: Mapping[str, Any], tokens: Tokens, present: Tensor) -> Tensor:
    if tokens is not None:
        return _marked(tokens, present)
    if parts.receiver is None or inputs.get("input_ids") is None:
        raise ValueError("the vision tokens of this model or these inputs are not known; pass tokens=.")
    last = present.shape[1] - 1 - present.int().flip(1).argmax(1)
    placeholders = is_vision(inputs["input_ids"].to(present.device), parts.vision_ids)
    return placeholders.scatter(1, last[:, None], False)


def _marked(tokens: Tokens, present: Tensor) -> Tensor:
    """True where `tokens` points to."""
    if getattr(tokens, "dtype", None) in (torch.bool, bool):
        if tuple(tokens.shape) != tuple(present.shape):
            raise ValueError(f"tokens must be a BoolTensor {list(present.shape)}; got {list(tokens.shape)}.")
        return torch.as_tensor(tokens)
    batch, length = present.shape
    found = tokens.tolist() if hasattr(tokens, "tolist") else tokens
    found = [found] if isinstance(found, int) else [x.tolist() if hasattr(x, "tolist") else x for x in found]
    rows = found if any(isinstance(x, Sequence) for x in found) else [found] * batch
    if len(rows) != batch:
        raise ValueError(f"tokens must be positions for each of {batch} rows; got {len(rows)} lists of them.")
    marked = torch.zeros_like(present)
    for row, positions in enumerate(rows):
        if any(type(p) is not int or not 0 <= p < length for p in positions):
            raise ValueError(
                f"tokens must be positions in [0, {length - 1}], the same in every row or a list for each, or a "
                f"boolean mask {[batch, length]}; got {positions}."
            )
        marked[row, positions] = True
    return marked
