"""Exact norms and Lanczos on matrices that are written down."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analysis.theorem.lanczos import bidiagonalise
from analysis.theorem.norms import exact
from tests.support.known_spectra import EVERY_SPECTRUM, SPECTRA, largest, matrices


def counted(jacobians, tolerance):
    """The norms of [batch, out, dim], and how many products they took."""
    calls = []

    def jvp(v):
        calls.append("jvp")
        return (jacobians @ v[..., None])[..., 0]

    def vjp(u):
        calls.append("vjp")
        return (jacobians.mT @ u[..., None])[..., 0]

    like = torch.zeros_like(jacobians[:, 0])
    return bidiagonalise(jvp, vjp, like, jacobians.shape[1], tolerance, 0), len(calls)


EVERY_SHAPE = pytest.mark.parametrize("shape", [(3, 12, 12), (3, 5, 12), (3, 12, 5), (3, 1, 4), (3, 4, 1)], ids=str)


@EVERY_SPECTRUM
@EVERY_SHAPE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_finds_the_largest_singular_value_of_any_spectrum(spectrum, shape, dtype):
    jacobians = matrices(spectrum, (2, *shape), 0).to(dtype)
    found = exact(jacobians)
    rtol = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found.norm, largest(jacobians.double()), rtol=rtol, atol=rtol)
    assert torch.equal(found.lower, found.norm) and torch.equal(found.upper, found.norm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_survives_projections_as_the_last_norm_layer_has_them(dtype):
    x = torch.nn.functional.normalize(torch.randn(64, 32, generator=torch.Generator().manual_seed(0)).double(), dim=1)
    projections = torch.eye(32) - x[:, :, None] * x[:, None, :]
    torch.testing.assert_close(exact(projections.to(dtype)).norm, torch.ones(64).double(), rtol=1e-5, atol=0)


@EVERY_SPECTRUM
@EVERY_SHAPE
def test_lanczos_converges_to_the_largest_singular_value(spectrum, shape):
    jacobians = matrices(spectrum, shape, 1)
    found, _ = counted(jacobians, 1e-9)
    torch.testing.assert_close(found.norm, largest(jacobians), rtol=1e-6, atol=1e-12)
    assert torch.equal(found.lower, found.norm) and (found.upper >= found.norm).all()


@hypothesis_settings(max_examples=40)
@given(
    spectrum=st.sampled_from(list(SPECTRA)),
    tolerance=st.sampled_from([1e-1, 1e-2, 1e-4]),
    seed=st.integers(0, 999),
    n_out=st.integers(1, 30),
)
def test_lanczos_stops_at_its_residual_and_never_exceeds_the_norm(spectrum, tolerance, seed, n_out):
    jacobians = matrices(spectrum, (4, n_out, 20), seed)
    found, calls = counted(jacobians, tolerance)
    assert (found.norm <= largest(jacobians) * (1 + 1e-9) + 1e-12).all()
    if calls == 2 * min(n_out, 20):  # exhausted: the whole matrix has been seen
        torch.testing.assert_close(found.norm, largest(jacobians), rtol=max(1e-6, tolerance), atol=1e-12)
    else:
        assert (found.upper - found.lower <= tolerance * found.norm * (1 + 1e-9)).all()


def test_lanczos_stops_earlier_where_less_is_asked():
    jacobians = torch.randn(3, 60, 60, generator=torch.Generator().manual_seed(0)).double()
    (loose, few), (middle, some), (tight, many) = (counted(jacobians, tolerance) for tolerance in (1e-1, 1e-3, 1e-8))
    assert few < some < many < 120
    errors = [(largest(jacobians) - found.norm).max() for found in (loose, middle, tight)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-8


def test_lanczos_treats_operators_of_a_batch_apart():
    jacobians = torch.cat([matrices(spectrum, (1, 9, 7), 2) for spectrum in SPECTRA])
    found, _ = counted(jacobians, 1e-8)
    torch.testing.assert_close(found.norm, largest(jacobians), rtol=1e-6, atol=1e-12)
    zero = list(SPECTRA).index("zero")
    assert found.norm[zero] == found.upper[zero] == 0


@EVERY_SPECTRUM
@EVERY_SHAPE
def test_the_top_direction_is_a_unit_vector_that_the_matrix_stretches_by_its_norm(spectrum, shape):
    jacobians = matrices(spectrum, shape, 3)
    for found in (exact(jacobians), counted(jacobians, 1e-9)[0]):
        stretched = (jacobians @ found.top_direction[..., None])[..., 0].norm(dim=-1)
        if spectrum == "zero":
            assert found.top_direction.isnan().all() or (found.norm < 1e-12).all()
            continue
        torch.testing.assert_close(found.top_direction.norm(dim=-1), torch.ones(len(jacobians)).double())
        torch.testing.assert_close(stretched, largest(jacobians), rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(3, 12, 12), (3, 5, 12), (3, 12, 5)], ids=str)
def test_the_top_direction_is_that_of_the_dense_singular_value_decomposition(shape):
    jacobians = matrices("decaying", shape, 4)
    expected = torch.linalg.svd(jacobians)[2][:, 0]
    for found in (exact(jacobians), counted(jacobians, 1e-9)[0]):
        cosine = (found.top_direction * expected).sum(-1).abs()
        torch.testing.assert_close(cosine, torch.ones(3).double(), rtol=0, atol=1e-9)
