"""Attention without its position trend (arXiv 2508.17807)."""

import torch

from v2drop.types import Indices, Scores, Valid


def divide_trend(attention: Scores, rank: Indices, real: Valid) -> Scores:
    r"""Attention divided by an exponential of the token's rank, fitted to each row.

    The trend is :math:`e^{\alpha + \beta j}`, j the rank, :math:`\alpha, \beta` by least squares of the logarithm over
    the row's own tokens, so nothing is calibrated beforehand; a content that happens to lie at one end counts as trend.
    Zero attention stays zero and does not enter the fit; of fewer than three tokens there is no trend. The paper also
    zeroes the padding tokens of tiled pictures, which the families here do not have.

    Args:
        attention: not negative.
        rank: of the tokens among the prompt's.
        real: False in padding, which stays as it is.

    >>> ones = torch.ones(1, 4, dtype=torch.bool)
    >>> divide_trend(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.arange(4)[None], ones).round(decimals=4)
    tensor([[1., 1., 1., 1.]])
    """
    seen = real & (attention > 0)
    count = seen.sum(1, keepdim=True)
    logarithm = torch.where(seen, attention, 1).log()
    level = logarithm.sum(1, keepdim=True) / count.clamp(min=1)
    middle = (rank * seen).sum(1, keepdim=True) / count.clamp(min=1)
    centred = ((rank - middle) * seen).to(attention.dtype)
    slope = (centred * logarithm).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp(min=1e-12)
    trend = torch.exp(level + slope * (rank - middle).to(attention.dtype))
    return torch.where(seen & (count > 2), attention / trend, attention)
