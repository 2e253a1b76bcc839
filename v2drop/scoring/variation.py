"""How far a decoder layer moved a token: the metrics that variation-aware dropping can rank by.

Every metric takes the states of the same tokens at the input of a layer (`before`) and at its output (`after`),
`[..., dim]` in any floating dtype, and returns `[...]`, float32 (float64 for float64 input): the difference is taken
and summed after the conversion, so bfloat16 states lose nothing more. Zero vectors give finite values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

States = Float[Tensor, "*tokens dim"]
Variation = Float[Tensor, "*tokens"]


def l1(before: States, after: States) -> Variation:
    r"""Sum of absolute changes, :math:`\lVert \Delta x \rVert_1` (V2Drop, arXiv 2509.01552).

    >>> l1(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, -2.0]]))
    tensor([7.])
    """
    before, after = _widen(before, after)
    return (after - before).abs().sum(-1)


def l2(before: States, after: States) -> Variation:
    r"""Euclidean length of the change, :math:`\lVert \Delta x \rVert_2` (V2Drop's default, and its released code's).

    >>> l2(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, -2.0]]))
    tensor([5.])
    """
    before, after = _widen(before, after)
    return torch.linalg.vector_norm(after - before, dim=-1)


def cosine(before: States, after: States) -> Variation:
    r"""Change of direction, :math:`1 - \cos(x, x + \Delta x)`, in [0, 2] (V2Drop).

    Computed as half the squared distance of the unit vectors: the same number, without the cancellation that makes
    `1 - cos` zero for small turns. A zero vector has no direction: the metric is 1 if one is zero, 0 if both are.

    >>> cosine(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 3.0], [-5.0, 0.0]]))
    tensor([1., 2.])
    """
    before, after = _widen(before, after)
    apart = (_unit(after) - _unit(before)).square().sum(-1) / 2
    comparable = (before != 0).any(-1) == (after != 0).any(-1)
    return torch.where(comparable, apart, torch.ones_like(apart))


def relative_l2(before: States, after: States) -> Variation:
    r"""L2 change relative to the state's own length, :math:`\lVert \Delta x \rVert_2 / \lVert x \rVert_2`.

    Without it a token of large norm looks restless. From a zero state any change is infinite, no change is 0.

    >>> relative_l2(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 14.0]]))
    tensor([2.])
    """
    change = l2(before, after)
    length = torch.linalg.vector_norm(_widen(before, after)[0], dim=-1)
    return torch.where(change == 0, change, change / length)


def transition(before: States, after: States) -> Variation:
    r"""Change of length times change of direction: TransPrune's transition score of one module (arXiv 2507.20630).

    :math:`\bigl|\lVert x + \Delta x \rVert - \lVert x \rVert\bigr| \cdot (1 - \cos(x, x + \Delta x))`.

    >>> transition(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
    tensor([3.])
    """
    before, after = _widen(before, after)
    start, end = (torch.linalg.vector_norm(x, dim=-1) for x in (before, after))
    return (end - start).abs() * cosine(before, after)


METRICS: dict[str, Callable[[States, States], Variation]] = {
    "l2": l2,
    "l1": l1,
    "cosine": cosine,
    "relative_l2": relative_l2,
    "transition": transition,
}


def _widen(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    if before.shape != after.shape:
        raise ValueError(f"before and after must have one shape; got {tuple(before.shape)} and {tuple(after.shape)}.")
    dtype = torch.promote_types(before.dtype, torch.float32)
    return before.to(dtype), after.to(dtype)


def _unit(x: Tensor) -> Tensor:
    # By the largest entry first: the square of a tiny number would underflow, of a huge one overflow.
    x = x / x.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
