"""Who may attend to whom in the masked-attention oracle, layer by layer, written by plain loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from v2drop.contract.toys import Batch

Kept = dict[int, Int[Tensor, "batch left"]]  # as in a trace


@dataclass
class Together:
    """Columns that see each other both ways.

    Attributes:
        groups: int [batch, length]: columns of one number; -1 is in no group.
        within_window: whether a layer's sliding window cuts a group too.
    """

    groups: Int[Tensor, "batch length"]
    within_window: bool


def undropped(
    present: Bool[Tensor, "batch length"], window: int | None = None, together: Together | None = None
) -> Bool[Tensor, "batch query key"]:
    """Who may attend to whom with nothing dropped, [batch, query, key]: the definition of a layer's attention."""
    query, key = torch.arange(present.shape[1])[:, None], torch.arange(present.shape[1])
    near = query - key < (window or present.shape[1])  # by columns: a key ahead of the query is never too far
    seen = (key <= query) & near
    if together is not None:
        groups = together.groups
        both_ways = (groups[:, :, None] == groups[:, None, :]) & (groups[:, :, None] >= 0)
        seen = seen | (both_ways & near if together.within_window else both_ways)
    return seen & present[:, None, :]


def windows_of(config: Any) -> list[int | None]:
    """The sliding window of each decoder layer, None for full attention, from the decoder's config."""
    window, count = getattr(config, "sliding_window", None), config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * count
    return [window if kind == "sliding_attention" else None for kind in kinds]


def together_of(model: nn.Module, data: Batch, steps: int) -> Together | None:
    """Gemma 3's pictures see themselves both ways, PaliGemma's whole prompt does; generated tokens never."""
    groups = torch.full((len(data.vision), data.vision.shape[1] + steps), -1)
    if model.config.model_type == "paligemma":
        # transformers adds the prefix to what a layer's window shows (PaliGemma 2): the window does not cut it.
        groups[:, : data.vision.shape[1]] = 0
        return Together(groups, within_window=False)
    if model.config.model_type != "gemma3":
        return None
    for row in range(len(groups)):
        picture = -1
        for column, vision in enumerate(data.vision[row].tolist()):
            if vision:
                picture += column == 0 or not data.vision[row, column - 1]
                groups[row, column] = picture
    return Together(groups, within_window=True)


def dropped(kept: Kept, vision: Bool[Tensor, "batch length"], n_layers: int) -> list[Bool[Tensor, "batch length"]]:
    """Flags of the vision tokens that are gone when each layer runs, [batch, length]; `kept` as in a trace."""
    gone, result = torch.zeros_like(vision), []
    for layer in range(n_layers):
        if layer in kept:
            for row in range(len(gone)):
                left = set(kept[layer][row].tolist())
                for column in vision[row].nonzero().flatten().tolist():
                    gone[row, column] |= column not in left
        result.append(gone.clone())
    return result


def masks(
    present: Bool[Tensor, "batch length"],
    kept: Kept,
    vision: Bool[Tensor, "batch length"],
    n_layers: int,
    windows: list[int | None] | None = None,
    together: Together | None = None,
) -> list[Bool[Tensor, "batch 1 query key"]]:
    """One boolean mask [batch, 1, length, length] per layer; `kept` as in a trace, `windows` one per layer."""
    itself = torch.eye(present.shape[1], dtype=torch.bool)
    result = []
    for layer, gone in enumerate(dropped(kept, vision, n_layers)):
        visible = undropped(present, windows and windows[layer], together)
        visible = visible & ~gone[:, None, :] | itself & gone[:, None, :]
        result.append(visible[:, None])
    return result


def closed_up(
    present: Bool[Tensor, "batch length"], kept: Kept, vision: Bool[Tensor, "batch length"], n_layers: int
) -> list[Int[Tensor, "batch length"]]:
    """Position ids [batch, length] per layer, counted over the tokens that are still there; of others, anything."""
    there = [present & ~gone for gone in dropped(kept, vision, n_layers)]
    return [(each.cumsum(1) - 1).clamp(min=0) for each in there]
