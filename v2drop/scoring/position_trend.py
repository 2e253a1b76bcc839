"""Attention divided by its fitted position trend (arXiv 2508.17807)."""

import torch

from v2drop.types import Indices, Scores, Valid


def divide_trend(attention: Scores, vision_index: Indices, valid: Valid) -> Scores:
    r"""Divide attention by an exponential function of the vision index, fitted to each row.

    The trend is :math:`e^{\alpha + \beta j}` with j the vision index. :math:`\alpha` and :math:`\beta` come from a
    least-squares fit to the logarithm of the row's attention. So nothing is calibrated beforehand, but content that
    happens to lie at one end of an image counts as trend. Zeros stay zeros and are left out of the fit; a row with
    fewer than three other values stays as it is. The paper also zeroes the padding tokens of tiled images, which the
    families here do not have.

    Args:
        attention: attention weights of the candidates, 0 or more.
        vision_index: number of the prompt's vision tokens before each candidate.
        valid: False in padding, which stays as it is.

    >>> ones = torch.ones(1, 4, dtype=torch.bool)
    >>> divide_trend(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.arange(4)[None], ones).round(decimals=4)
    tensor([[1., 1., 1., 1.]])
    """
    fitted = valid & (attention > 0)
    count = fitted.sum(1, keepdim=True)
    logarithm = torch.where(fitted, attention, 1).log()
    mean_log = logarithm.sum(1, keepdim=True) / count.clamp(min=1)
    mean_index = (vision_index * fitted).sum(1, keepdim=True) / count.clamp(min=1)
    centred = ((vision_index - mean_index) * fitted).to(attention.dtype)
    slope = (centred * logarithm).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp(min=1e-12)
    trend = torch.exp(mean_log + slope * (vision_index - mean_index).to(attention.dtype))
    return torch.where(fitted & (count > 2), attention / trend, attention)
