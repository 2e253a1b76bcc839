"""The largest singular value of many matrix-free operators at once (Golub-Kahan-Lanczos)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from jaxtyping import Int
from torch import Tensor

from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms

Product = Callable[[Tensor], Tensor]


def lanczos(linear: Linearised, tokens: Int[Tensor, " token"], tolerance: float, seed: int) -> Norms:
    """Norms of the J_j of the first layer by Golub-Kahan bidiagonalisation, a batch of tokens at once.

    An iteration takes one JVP and one VJP for each token, and no matrix. scipy's `svds` does the same for one operator
    at a time; here the products of a batch share their passes.

    Args:
        linear: The linearised stream of one prompt.
        tokens: Positions within the prompt.
        tolerance: The residual, relative to the norm, at which the iteration stops.
        seed: The seed of the start vectors.
    """
    parts = [
        bidiagonalise(
            lambda v, t=part: linear.jvp_each(v, t),
            lambda u, t=part: linear.vjp_each(u, t),
            linear.stream.states[0].new_empty(len(part), linear.stream.states[0].shape[-1]),
            len(linear.output),
            tolerance,
            seed,
        )
        for part in tokens.split(linear.batch_size)
    ]
    return Norms(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(Norms)))


def bidiagonalise(jvp: Product, vjp: Product, like: Tensor, n_out: int, tolerance: float, seed: int) -> Norms:
    """The largest singular value of several operators at once (Golub and Van Loan, Matrix Computations, 10.4).

    With A V = U B and A^T U = V B^T + beta v e^T, a singular triple (s, p, q) of the bidiagonal B leaves the residual
    beta |p_k|: some singular value of A lies within the residual of s, and s never exceeds the largest one. The
    iteration stops when every residual is at most `tolerance` times its s, or the space is exhausted. So `lower` is
    certain. `upper` is an estimate: it is right unless an unlucky start or a loose `tolerance` ends the iteration at a
    smaller singular value. `top_direction` is V q.

    Args:
        jvp: The operators A: a function from [batch, dim] to [batch, n_out], each row by its own operator.
        vjp: Their transposes: a function from [batch, n_out] to [batch, dim].
        like: A tensor [batch, dim] that has the shape, dtype and device of the tangents.
        n_out: The number of rows of every operator.
        tolerance: The residual, relative to s, at which the iteration stops.
        seed: The seed of the start vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    v = _unit_vectors(torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device))[0]
    u, alpha = _unit_vectors(jvp(v))
    left, right, diagonal, above = [u], [v], [alpha], []
    while True:
        w = _orthogonal(vjp(u) - alpha[:, None] * v, right)
        v, beta = _unit_vectors(w)
        values, last, within = _bidiagonal_svd(diagonal, above)
        residual = beta.double().cpu() * last
        if (residual <= tolerance * values).all():
            return Norms(values.clone(), values, values + residual, _direction(right, within, values))
        if len(left) == min(n_out, like.shape[-1]):  # U spans all of A's rows: A^T U = V [B | beta e]^T is all of A
            values, _, within = _bidiagonal_svd(diagonal, [*above, beta])
            return Norms(values.clone(), values.clone(), values, _direction([*right, v], within, values))
        u, alpha = _unit_vectors(_orthogonal(jvp(v) - beta[:, None] * u, left))
        left, right, diagonal, above = [*left, u], [*right, v], [*diagonal, alpha], [*above, beta]


def _direction(basis: list[Tensor], within: Tensor, norm: Tensor) -> Tensor:
    """The unit vectors [batch, dim] that have the coordinates `within` [batch, k] in a basis; NaN where norm is 0."""
    vector = torch.einsum("bk,bkd->bd", within.to(basis[0]), torch.stack(basis, 1))
    return torch.where((norm[:, None] > 0).to(vector.device), _unit_vectors(vector)[0], torch.nan)


def _unit_vectors(x: Tensor) -> tuple[Tensor, Tensor]:
    norm = x.norm(dim=-1)
    return x / norm.clamp_min(torch.finfo(x.dtype).tiny)[:, None], norm


def _orthogonal(x: Tensor, basis: list[Tensor]) -> Tensor:
    """The part of x orthogonal to a basis. Projected out twice: after once, Lanczos amplifies the rounding errors."""
    stack = torch.stack(basis, 1)
    for _ in range(2):
        x = x - torch.einsum("bk,bkd->bd", torch.einsum("bkd,bd->bk", stack, x), stack)
    return x


def _bidiagonal_svd(diagonal: list[Tensor], above: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular value of bidiagonal matrices [batch, k, k or k + 1].

    Beside it come the last entry of its left vector without sign, [batch], and its right vector, [batch, k or k + 1].
    The last column is there if `above`, the entries over the diagonal, has as many entries as `diagonal`.
    """
    rows, columns = len(diagonal), len(above) + 1
    b = torch.zeros(len(diagonal[0]), rows, columns, dtype=torch.float64)
    for i, value in enumerate(diagonal):
        b[:, i, i] = value
    for i, value in enumerate(above):
        b[:, i, i + 1] = value
    u, s, v = torch.linalg.svd(b)
    return s[:, 0], u[:, -1, 0].abs(), v[:, 0]
