"""Operator norms of the Jacobians J_j of one stream with their intervals: exact, or by one shared subspace."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import LinAlgError, eigh
from scipy.special import lambertw
from torch import Tensor

from analysis.theorem.linearised import Linearised

ROUNDING = 30  # in units of the dtype's precision: what is smaller beside the whole is taken for rounding


@dataclass(frozen=True)
class Norms:
    """Spectral norms with lower and upper bounds, and the directions to which the output is most sensitive.

    Attributes:
        norm: The norms, float64 on the CPU, [layer, token] or [token].
        lower: Their lower bounds, likewise.
        upper: Their upper bounds, likewise.
        top_direction: The top right singular vectors v, unit vectors with ||J_j v|| = norm, in the dtype and on the
            device of the Jacobians, [layer, token, dim] or [token, dim]. NaN where J_j is zero; any vector of the top
            singular space where the largest singular value is there several times.
    """

    norm: Tensor
    lower: Tensor
    upper: Tensor
    top_direction: Tensor

    @classmethod
    def empty(cls, shape: tuple[int, ...], like: Tensor) -> Norms:
        """NaN everywhere, to be written by `fill`; directions have the last axis, dtype and device of `like`."""
        norms = torch.full((3, *shape), torch.nan, dtype=torch.float64)
        return cls(*norms, like.new_full((*shape, like.shape[-1]), torch.nan))

    def fill(self, row: int, tokens: Tensor, norms: Norms) -> None:
        """Write the norms of some tokens of one layer."""
        self.norm[row, tokens], self.lower[row, tokens], self.upper[row, tokens] = norms.norm, norms.lower, norms.upper
        self.top_direction[row, tokens.to(self.top_direction.device)] = norms.top_direction

    def frame_columns(self) -> dict[str, np.ndarray]:
        """The columns of a frame: operator_norm, lower, upper."""
        bounds = {"operator_norm": self.norm, "lower": self.lower, "upper": self.upper}
        return {name: bound.flatten().numpy() for name, bound in bounds.items()}


def jacobians(linear: Linearised, tokens: Int[Tensor, " token"]) -> Float[Tensor, "layer token out dim"]:
    """All J_j as dense matrices: one backward pass for each entry of y, whatever the number of layers and tokens."""
    unit = torch.eye(len(linear.output), dtype=linear.output.dtype, device=linear.output.device)
    return linear.vjp_all(unit, tokens)


def exact(jacobian: Float[Tensor, "*batch out dim"]) -> Norms:
    """The spectral norm of dense matrices: the root of the largest eigenvalue of the smaller Gram matrix.

    scipy's `eigh` computes that eigenvalue and its vector alone, which for these sizes is several times faster than all
    singular values in a batch (torch.linalg).
    """
    wide = jacobian.shape[-2] <= jacobian.shape[-1]
    gram = (jacobian @ jacobian.mT if wide else jacobian.mT @ jacobian).cpu().flatten(0, -3).numpy()
    largest, vectors = zip(*map(_largest_eigenpair, gram), strict=True)
    norm = torch.from_numpy(np.sqrt(np.maximum(np.array(largest, dtype=np.float64), 0))).reshape(jacobian.shape[:-2])
    vector = torch.from_numpy(np.stack(vectors)).to(jacobian).reshape(*norm.shape, -1)
    right = (vector[..., None, :] @ jacobian)[..., 0, :] if wide else vector  # J^T u = norm v
    length = right.norm(dim=-1, keepdim=True)
    right = torch.where((norm[..., None] > 0).to(length.device) & (length > 0), right / length, torch.nan)
    return Norms(norm, norm.clone(), norm.clone(), right)


def _largest_eigenpair(gram: np.ndarray) -> tuple[np.floating, np.ndarray]:
    last = len(gram) - 1
    with suppress(LinAlgError):
        values, vectors = eigh(gram, subset_by_index=[last, last], driver="evx", check_finite=False)
        if len(values):
            return values[0], vectors[:, 0]
    # LAPACK's bisection fails, or finds nothing, on clustered eigenvalues, as of a Jacobian close to a projection.
    values, vectors = np.linalg.eigh(gram)
    return values[-1], vectors[:, -1]


def shared_subspace(
    linear: Linearised,
    tokens: Int[Tensor, " token"],
    rank: int,
    probes: int,
    iterations: int,
    confidence: float,
    seed: int,
) -> Norms:
    r"""Bounds of the norms of all layers and tokens, at a number of passes that depends on neither.

    Stacked side by side, the J_j share a good part of their left singular subspace. A block Lanczos iteration on
    :math:`\sum_j w_j J_j J_j^\top` finds Q; the weights :math:`w_j = 1 / \lVert J_j^\top Q' \rVert_F^2`, from the
    last block Q', make tokens and layers of small norm count as much as those of large norm. Then, with
    :math:`B_j = Q^\top J_j` and :math:`R_j = (I - Q Q^\top) J_j`,

    .. math:: \|B_j\|_2 \le \|J_j\|_2 \le \sqrt{\|B_j\|_2^2 + \|R_j\|_F^2}.

    The left side is certain. The Frobenius norm is estimated with Gaussian probes (Hutchinson), and enlarged by
    `hutchinson_inflation` so that all right sides hold together with the stated confidence. `norm` is the left side.

    Args:
        linear: The linearised stream of one prompt.
        tokens: Positions within the prompt.
        rank: The rank of a block of Q; all blocks together are capped at the number of entries of y.
        probes: The number of Gaussian cotangents.
        iterations: The number of blocks after the first, which is random.
        confidence: The probability with which all upper bounds hold together.
        seed: The seed of Q's start and of the probes.
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(rank + probes, len(linear.output), generator=generator, dtype=linear.output.dtype)
    start, z = gaussian.to(linear.output.device).split([rank, probes])
    q = _orthonormal(start)
    blocks, products = [q], [linear.vjp_all(q, tokens)]
    for _ in range(iterations):
        q = _outside(torch.cat(blocks), linear.jvp_sum(_equally_large(products[-1]), tokens))
        if not len(q):
            break
        blocks.append(q)
        products.append(linear.vjp_all(q, tokens))
    q, inside = torch.cat(blocks), exact(torch.cat(products, 2))
    lower = inside.norm
    rest = linear.vjp_all(z - (z @ q.mT) @ q, tokens).double().square().sum((-2, -1)).cpu() / probes
    upper = (lower.square() + rest * hutchinson_inflation(probes, (1 - confidence) / rest.numel())).sqrt()
    return Norms(lower.clone(), lower, upper, inside.top_direction)


def _equally_large(products: Float[Tensor, "layer token n dim"]) -> Float[Tensor, "layer token n dim"]:
    """J_j^T Q' over its squared size; zero where it is zero."""
    size = products.square().sum((-2, -1), keepdim=True)
    return torch.where(size > 0, products / size, 0)


def _outside(basis: Float[Tensor, "k out"], rows: Float[Tensor, "n out"]) -> Float[Tensor, "rank out"]:
    """Orthonormal rows that span what is left of some rows without their part in an orthonormal basis.

    What is left by rounding alone is no direction: there are fewer rows then, or none.
    """
    left = rows
    for _ in range(2):  # rounding leaves some of the basis in it the first time
        left = left - (left @ basis.mT) @ basis
    _, sizes, directions = torch.linalg.svd(left, full_matrices=False)
    large = sizes > ROUNDING * torch.finfo(rows.dtype).eps * torch.linalg.matrix_norm(rows)
    found = directions[large][: rows.shape[1] - len(basis)]
    return _orthonormal(found - (found @ basis.mT) @ basis) if len(found) else found


def _orthonormal(rows: Float[Tensor, "k out"]) -> Float[Tensor, "rank out"]:
    return torch.linalg.qr(rows.mT)[0].mT


def hutchinson_inflation(probes: int, miss: float) -> float:
    """The factor by which a mean of Gaussian quadratic forms is enlarged, to exceed the trace but for a small risk.

    Chernoff's bound on the lower tail of z^T A z, A positive semi-definite: among all A of one trace, that of rank one
    has the heaviest tail, because prod(1 + 2 s a_i) >= 1 + 2 s sum(a_i). For it, the mean of p forms falls below c
    times the trace with probability at most (c exp(1 - c))^(p / 2). This is solved for c.

    Args:
        probes: The number p of forms in the mean.
        miss: The risk, a probability in (0, 1), that the enlarged mean is below the trace.

    >>> round(hutchinson_inflation(32, 0.05), 3), round(hutchinson_inflation(32, 0.05 / 144), 3)
    (1.976, 3.304)
    """
    return float(-1 / lambertw(-math.exp(2 / probes * math.log(miss) - 1)).real)
