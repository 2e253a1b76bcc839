"""Low-rank updates of a frozen decoder (LoRA, arXiv 2106.09685): two thin matrices beside every chosen one."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from analysis.models.checkpoints.graft import SCALE

RANK = 16
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EVERYWHERE = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


class LowRank(nn.Module):
    """A linear map with a trained low-rank part; zero before training.

    Args:
        linear: The map, which is frozen.
        rank: The rank of the part.
    """

    def __init__(self, linear: nn.Linear, rank: int = RANK) -> None:
        """Draw the map down as LoRA does, and set the map up to zero."""
        super().__init__()
        self.linear = linear
        self.down = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, linear.in_features), 5**0.5))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """The map of x, [..., in] to [..., out]."""
        return self.linear(x) + SCALE * (x @ self.down.to(x.dtype).T) @ self.up.to(x.dtype).T


def add_low_rank(decoder: nn.Module, names: Collection[str]) -> dict[str, LowRank]:
    """Freeze a decoder and give every linear map of these names a low-rank part; return them by the map's path."""
    decoder.requires_grad_(False)
    found = {path: m for path, m in decoder.named_modules() if path.rpartition(".")[2] in names}
    added = {path: LowRank(linear) for path, linear in found.items()}
    for path, each in added.items():
        parent, _, name = path.rpartition(".")
        setattr(decoder.get_submodule(parent), name, each)
    return added
