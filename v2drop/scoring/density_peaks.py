"""Clusters around density peaks with k nearest neighbours (DPC-kNN; Du, Ding and Jia, 2016)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NOISE = 1e-6  # on densities: below what differs for a reason


def dpc_knn(
    points: Float[Tensor, "points dim"], n: int, noise: Float[Tensor, " points"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, "n points"]]:
    r"""`n` cluster centres, best first, and the members of their clusters, 1.0 or 0.0.

    With distances :math:`d_{ij}` divided by the square root of the dimension, a point's density is
    :math:`\exp(-\operatorname{mean} d^2)` over its `n` nearest neighbours, itself the first of them, plus noise. Its
    rank as a centre is its density times its distance to the nearest denser point; for the densest, to the largest
    distance of all. A point belongs to the nearest centre, a centre to itself.

    Args:
        points: where they are.
        n: from 1 to the number of points.
        noise: from 0 to 1, scaled down to `NOISE`.

    >>> points = torch.tensor([[0.0], [0.1], [0.3], [5.0], [5.2]])
    >>> centres, members = clusters(points, 2, torch.zeros(5))
    >>> centres, (members @ points / members.sum(1, keepdim=True)).flatten()
    (tensor([0, 3]), tensor([0.1333, 5.1000]))
    """
    # Not by way of a product of matrices, whose rounding would set a point apart from itself.
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") / points.shape[1] ** 0.5
    nearest = distance.topk(n, dim=1, largest=False).values
    density = torch.expm1(-nearest.square().mean(1)) + NOISE * noise  # less 1, where float32 resolves the noise
    order = density.argsort(descending=True, stable=True)  # so that the denser points are those before
    among = distance[order][:, order]
    before = torch.ones_like(among, dtype=torch.bool).tril(-1)
    gap = among.masked_fill(~before, torch.inf).amin(1).clamp(max=distance.max())
    best = (gap * (1 + density[order])).argsort(descending=True, stable=True)[:n]  # of equal ones the denser
    centres = order[best]
    nearest = distance[centres].argmin(0)
    nearest[centres] = torch.arange(n, device=points.device)
    return centres, (nearest == torch.arange(n, device=points.device)[:, None]).to(points.dtype)
