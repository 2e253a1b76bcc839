"""Is the output smooth enough for a first-order statement: how fast the remainder of the linear model vanishes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.stream import Stream
from analysis.theorem.interventions import revert_update

SHARES = tuple(0.5**k for k in range(7))  # of the update: 1, 1/2, ... 1/64
ROUNDING_SHARE = 0.5**12  # here a smooth remainder is 4096 times smaller than at 1/64: what is left is rounding
MIN_ABOVE_ROUNDING = 10.0  # a remainder counts if it is so many times the one at TINY


def remainder_slopes(
    stream: Stream,
    layers: Sequence[int],
    tokens: Int[Tensor, " token"],
    first_order: Float[Tensor, "layer token out"],
    at_most: int | None = None,
) -> Float[Tensor, "layer token"]:
    r"""Slope of :math:`\log \|F(X) - F(X - e \Delta x_j) - e J_j \Delta x_j\|` against log e, e = 1, 1/2, ... 1/64.

    Args:
        stream: of one prompt.
        layers: l.
        tokens: j.
        first_order: :math:`J_j \Delta x_j`.
        at_most: so many of the tokens, evenly spaced; None: all.

    Returns:
        Least-squares slopes over the e whose remainder stands out from rounding; NaN where those are fewer than three,
        and for tokens left out.
    """
    out = torch.full(first_order.shape[:2], torch.nan, dtype=torch.float64)
    count = len(tokens) if at_most is None else min(at_most, len(tokens))
    if count == 0:
        return out
    chosen = torch.linspace(0, len(tokens) - 1, count).round().long()
    linear = first_order[:, chosen.to(first_order.device)]
    remainders = torch.stack([_remainder(stream, layers, tokens[chosen], linear, e) for e in (*SHARES, ROUNDING_SHARE)])
    out[:, chosen] = loglog_slope(torch.tensor(SHARES).double(), remainders[:-1], remainders[-1])
    return out


def _remainder(stream: Stream, layers: Sequence[int], tokens: Tensor, linear: Tensor, share: float) -> Tensor:
    change = -stream.change(revert_update(stream, layers, tokens, share))
    return (change - share * linear).norm(dim=-1).double().cpu()


def loglog_slope(
    shares: Float[Tensor, " share"], remainders: Float[Tensor, share * any], rounding: Float[Tensor, "*any"]
) -> Float[Tensor, "*any"]:
    """Slope of log remainder on log share, where the remainder exceeds `MIN_ABOVE_ROUNDING` times the rounding.

    >>> e = torch.tensor([1.0, 0.5, 0.25, 0.125])
    >>> fit(e, torch.stack([3 * e**2, 3 * e**2], 1), torch.tensor([0.0, 0.1]))
    tensor([2., nan])
    """
    usable = (remainders > MIN_ABOVE_ROUNDING * rounding) & (remainders > 0)
    x = shares.log().view(-1, *[1] * rounding.ndim).expand_as(remainders)
    y = torch.where(usable, remainders, 1).log()
    n = usable.sum(0)
    x, y = ((v - (v * usable).sum(0) / n) * usable for v in (x, y))
    return torch.where(n >= 3, (x * y).sum(0) / (x * x).sum(0), torch.nan)
