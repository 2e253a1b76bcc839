"""Largest singular value of many matrix-free operators at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms

Product = Callable[[Tensor], Tensor]


def lanczos(linear: Linearised, tokens: Int[Tensor, " token"], tol: float, seed: int) -> Norms:
    """Golub-Kahan bidiagonalisation of every J_j behind the first layer, a chunk of tokens at once.

    Matrix-free: an iteration is one JVP and one VJP a token. scipy's `svds` does the same for one operator at a time;
    here the products of a chunk share their passes, which it cannot.
    """
    parts = [
        bidiagonalise(
            lambda v, t=part: linear.push_each(v, t),
            lambda u, t=part: linear.pull_each(u, t),
            linear.stream.states[0].new_empty(len(part), linear.stream.states[0].shape[-1]),
            len(linear.output),
            tol,
            seed,
        )
        for part in tokens.split(linear.chunk)
    ]
    return Norms(*(torch.cat([getattr(p, name) for p in parts]) for name in ("norm", "lower", "upper")))


def bidiagonalise(push: Product, pull: Product, like: Tensor, n_out: int, tol: float, seed: int) -> Norms:
    """Largest singular value of several operators at once (Golub and Van Loan, Matrix Computations, 10.4).

    With A V = U B and A^T U = V B^T + beta v e^T, a singular triple (s, p, q) of the bidiagonal B leaves the residual
    beta |p_k|: a singular value of A lies within that of s, and s never exceeds the largest. Stops when every
    residual is at most `tol` times its s, or the space is exhausted. So `lower` is certain; `upper` is an estimate,
    right if the singular value that was found is the largest one, as it is but for unlucky starts and loose `tol`.

    Args:
        push: [batch, dim] to [batch, n_out], every row by its own operator.
        pull: its transpose.
        like: [batch, dim], for shape, dtype and device.
        n_out: rows of the operators.
        tol: relative residual.
        seed: of the start vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    v = _unit_vectors(torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device))[0]
    u, alpha = _unit_vectors(push(v))
    left, right, diagonal, above = [u], [v], [alpha], []
    while True:
        w = _orthogonal(pull(u) - alpha[:, None] * v, right)
        v, beta = _unit_vectors(w)
        values, last = _bidiagonal_svd(diagonal, above)
        residual = beta.double().cpu() * last
        if (residual <= tol * values).all():
            return Norms(values.clone(), values, values + residual)
        if len(left) == min(n_out, like.shape[-1]):  # U spans all of A's rows: A^T U = V [B | beta e]^T is all of A
            values, _ = _bidiagonal_svd(diagonal, [*above, beta])
            return Norms(values.clone(), values.clone(), values)
        u, alpha = _unit_vectors(_orthogonal(push(v) - beta[:, None] * u, left))
        left, right, diagonal, above = [*left, u], [*right, v], [*diagonal, alpha], [*above, beta]


def _unit_vectors(x: Tensor) -> tuple[Tensor, Tensor]:
    norm = x.norm(dim=-1)
    return x / norm.clamp_min(torch.finfo(x.dtype).tiny)[:, None], norm


def _orthogonal(x: Tensor, basis: list[Tensor]) -> Tensor:
    """Remove what lies in the basis, twice: once leaves rounding errors that Lanczos amplifies."""
    stack = torch.stack(basis, 1)
    for _ in range(2):
        x = x - torch.einsum("bk,bkd->bd", torch.einsum("bkd,bd->bk", stack, x), stack)
    return x


def _bidiagonal_svd(diagonal: list[Tensor], above: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Largest singular value, and the last entry of its left vector, of [batch, k, k] or, one `above` more, k + 1."""
    rows, columns = len(diagonal), len(above) + 1
    b = torch.zeros(len(diagonal[0]), rows, columns, dtype=torch.float64)
    for i, value in enumerate(diagonal):
        b[:, i, i] = value
    for i, value in enumerate(above):
        b[:, i, i + 1] = value
    u, s, _ = torch.linalg.svd(b)
    return s[:, 0], u[:, -1, 0].abs()
