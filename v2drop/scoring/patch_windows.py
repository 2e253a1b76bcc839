"""Windows of a picture whose patches are alike become one token early in the vision tower (MustDrop's first stage)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

SIDE = 3  # of a window
MERGED_FROM_COSINE = 0.8


def patch_windows(side: int) -> Int[Tensor, "windows patches"]:
    """Patches of each whole window of a square grid; what is left over at the right and below is in none.

    >>> windows(4).tolist(), len(windows(24)), len(windows(2))
    ([[0, 1, 2, 4, 5, 6, 8, 9, 10]], 64, 0)
    """
    n = side // SIDE
    grid = torch.arange(side**2).view(side, side)[: n * SIDE, : n * SIDE]
    return grid.reshape(n, SIDE, n, SIDE).transpose(1, 2).reshape(n**2, SIDE**2)


def mean_pairwise_cosine(members: Float[Tensor, "images windows patches width"]) -> Float[Tensor, "images windows"]:
    """Mean cosine over all pairs of a window's patches.

    >>> likeness(torch.tensor([[[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]]]))
    tensor([[0.3333]])
    """
    unit, n = normalize(members.float(), dim=-1), members.shape[2]
    return (unit.sum(2).square().sum(-1) - unit.square().sum((2, 3))) / (n * (n - 1))


def n_key_tokens(tokens: Tensor | int) -> Tensor | int:
    """8 % of these, rounded up, in whole numbers, for 0.08 is no binary one.

    >>> n_key(576), n_key(25), n_key(1)
    (47, 2, 1)
    """
    return (8 * tokens + 99) // 100
