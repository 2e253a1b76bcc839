"""Density-peaks clustering with k nearest neighbours (DPC-kNN; Du, Ding and Jia, 2016)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NOISE = 1e-6  # largest noise added to a density; smaller than differences between points that are not duplicates


def dpc_knn(
    points: Float[Tensor, "points dim"], n: int, noise: Float[Tensor, " points"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, "n points"]]:
    r"""Cluster points around `n` centres.

    Distances :math:`d_{ij}` are divided by the square root of the dimension. The density of a point is
    :math:`\exp(-\operatorname{mean} d^2)` over its `n` nearest neighbours, itself included, plus noise. The centres are
    the `n` points with the largest product of density and distance to the nearest denser point. For the densest point
    that distance is the largest of all distances. Every other point belongs to the nearest centre.

    Args:
        points: coordinates of the points.
        n: number of clusters, and of neighbours; from 1 to the number of points.
        noise: tie-breaker between equally dense points, from 0 to 1; multiplied by `NOISE`.

    Returns:
        Indices of the centres, best first, [n], and membership in their clusters, 1.0 or 0.0, [n, points].

    >>> points = torch.tensor([[0.0], [0.1], [0.3], [5.0], [5.2]])
    >>> centres, members = dpc_knn(points, 2, torch.zeros(5))
    >>> centres, (members @ points / members.sum(1, keepdim=True)).flatten()
    (tensor([0, 3]), tensor([0.1333, 5.1000]))
    """
    # Not by a matrix product, whose rounding gives a point a distance from itself.
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") / points.shape[1] ** 0.5
    nearest = distance.topk(n, dim=1, largest=False).values
    density = torch.expm1(-nearest.square().mean(1)) + NOISE * noise  # density - 1: float32 resolves the noise there
    order = density.argsort(descending=True, stable=True)  # denser points come first
    ordered = distance[order][:, order]
    denser = torch.ones_like(ordered, dtype=torch.bool).tril(-1)
    gap = ordered.masked_fill(~denser, torch.inf).amin(1).clamp(max=distance.max())
    best = (gap * (1 + density[order])).argsort(descending=True, stable=True)[:n]  # ties go to the denser point
    centres = order[best]
    cluster = distance[centres].argmin(0)
    cluster[centres] = torch.arange(n, device=points.device)
    return centres, (cluster == torch.arange(n, device=points.device)[:, None]).to(points.dtype)
