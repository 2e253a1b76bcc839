"""How fast the remainder of the linear model vanishes: whether the output is smooth enough for a first-order claim."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.stream import Stream
from analysis.theorem.interventions import revert_update

SHARES = tuple(0.5**k for k in range(7))  # shares of the update that are taken back: 1, 1/2, ... 1/64
# At this share a quadratic remainder is 4096 times smaller than at 1/64, so what is measured is rounding error.
ROUNDING_SHARE = 0.5**12
MIN_ABOVE_ROUNDING = 10.0  # remainders below this multiple of the one at ROUNDING_SHARE do not count


def remainder_slopes(
    stream: Stream,
    layers: Sequence[int],
    tokens: Int[Tensor, " token"],
    first_order: Float[Tensor, "layer token out"],
    at_most: int | None = None,
) -> Float[Tensor, "layer token"]:
    r"""The slope of :math:`\log \|F(X) - F(X - e \Delta x_j) - e J_j \Delta x_j\|` against log e, e = 1, 1/2, ... 1/64.

    Args:
        stream: The residual stream of one prompt.
        layers: Layers l.
        tokens: Positions j within the prompt.
        first_order: :math:`J_j \Delta x_j` of every layer and token.
        at_most: The number of tokens that are measured, evenly spaced; None for all.

    Returns:
        Least-squares slopes over the e whose remainder stands out from rounding. NaN where fewer than three do, and for
        tokens that are not measured.
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
    change = -stream.output_change(revert_update(stream, layers, tokens, share))
    return (change - share * linear).norm(dim=-1).double().cpu()


def loglog_slope(
    shares: Float[Tensor, " share"], remainders: Float[Tensor, share * any], rounding: Float[Tensor, "*any"]
) -> Float[Tensor, "*any"]:
    """The slope of log remainder on log share, over remainders above `MIN_ABOVE_ROUNDING` times the rounding error.

    Args:
        shares: Shares of the update.
        remainders: The remainder at every share.
        rounding: The remainder that rounding alone leaves.

    Returns:
        The slopes; NaN where fewer than three remainders count.

    >>> e = torch.tensor([1.0, 0.5, 0.25, 0.125])
    >>> loglog_slope(e, torch.stack([3 * e**2, 3 * e**2], 1), torch.tensor([0.0, 0.1]))
    tensor([2., nan])
    """
    usable = (remainders > MIN_ABOVE_ROUNDING * rounding) & (remainders > 0)
    x = shares.log().view(-1, *[1] * rounding.ndim).expand_as(remainders)
    y = torch.where(usable, remainders, 1).log()
    n = usable.sum(0)
    x, y = ((v - (v * usable).sum(0) / n) * usable for v in (x, y))
    return torch.where(n >= 3, (x * y).sum(0) / (x * x).sum(0), torch.nan)
