"""Matrices with known singular values, and products with them in place of a model's Jacobians."""

import pytest
import torch

from analysis.theorem.linearised import Linearised

SPECTRA = {
    "rank one": lambda k: [2.0] + [0.0] * (k - 1),
    "repeated": lambda k: [3.0] * (k // 2) + [1.0] * (k - k // 2),
    "flat": lambda k: [1.5] * k,
    "decaying": lambda k: [2.0**-i for i in range(k)],
    "clustered": lambda k: [1 + 1e-7 * i for i in range(k)],
    "zero": lambda k: [0.0] * k,
}
EVERY_SPECTRUM = pytest.mark.parametrize("spectrum", SPECTRA)


def matrices(spectrum, shape, seed):
    """[..., out, dim] with these singular values and random singular vectors."""
    generator = torch.Generator().manual_seed(seed)
    k = min(shape[-2:])
    left, right = (torch.linalg.qr(torch.randn(*shape[:-2], n, k, generator=generator).double())[0] for n in shape[-2:])
    return left * torch.tensor(SPECTRA[spectrum](k)).double() @ right.mT


def largest(jacobians):
    return torch.linalg.svdvals(jacobians)[..., 0]


class Explicit(Linearised):
    """Products with matrices [layer, token, out, dim] instead of a model's Jacobians."""

    def __init__(self, jacobians):
        self.jacobians, self.batch_size = jacobians, 5
        self.layers, self.output = list(range(len(jacobians))), jacobians.new_zeros(jacobians.shape[2])

    def vjp_all(self, cotangents, tokens):
        return cotangents @ self.jacobians[:, tokens]

    def jvp_sum(self, tangents, tokens):
        return torch.einsum("ltod,ltnd->no", self.jacobians[:, tokens], tangents)
