"""Windows of 3 x 3 patches, the similarity of their patches, and the number of key tokens (MustDrop)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

SIDE = 3  # patches along a side of a window
MERGED_FROM_COSINE = 0.8  # a window is merged if the mean cosine of its pairs is at least this


def patch_windows(side: int) -> Int[Tensor, "windows patches"]:
    """Patch indices of each complete 3 x 3 window of a square grid, [windows, 9].

    Patches at the right and at the bottom that fill no complete window are in none.

    Args:
        side: patches along a side of the grid.

    >>> patch_windows(4).tolist(), len(patch_windows(24)), len(patch_windows(2))
    ([[0, 1, 2, 4, 5, 6, 8, 9, 10]], 64, 0)
    """
    n = side // SIDE
    grid = torch.arange(side**2).view(side, side)[: n * SIDE, : n * SIDE]
    return grid.reshape(n, SIDE, n, SIDE).transpose(1, 2).reshape(n**2, SIDE**2)


def mean_pairwise_cosine(members: Float[Tensor, "images windows patches width"]) -> Float[Tensor, "images windows"]:
    """Mean cosine over all pairs of different patches of a window.

    >>> mean_pairwise_cosine(torch.tensor([[[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]]]))
    tensor([[0.3333]])
    """
    unit, n = normalize(members.float(), dim=-1), members.shape[2]
    return (unit.sum(2).square().sum(-1) - unit.square().sum((2, 3))) / (n * (n - 1))


def n_key_tokens(tokens: Tensor | int) -> Tensor | int:
    """Number of key tokens among `tokens` tokens: 8 %, rounded up.

    >>> n_key_tokens(576), n_key_tokens(25), n_key_tokens(1)
    (47, 2, 1)
    """
    # In integers, because 0.08 has no exact binary form.
    return (8 * tokens + 99) // 100
