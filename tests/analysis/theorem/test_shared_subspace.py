"""Bounds from a shared subspace, with their odds, on matrices that are written down."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from analysis.theorem.norms import hutchinson_inflation, shared_subspace
from analysis.theorem.operator_norms import Estimator
from tests.support.known_spectra import EVERY_SPECTRUM, Explicit, largest, matrices


@pytest.mark.parametrize("probes", [1, 4, 32, 200])
@pytest.mark.parametrize("miss", [0.3, 0.05, 1e-3, 1e-6])
def test_the_inflation_covers_the_heaviest_tail_but_not_by_far_more_than_asked(probes, miss):
    falls_short = chi2(probes).cdf(probes / hutchinson_inflation(probes, miss))
    assert miss / 100 < falls_short <= miss
    other = chi2(6 * probes).cdf(6 * probes / hutchinson_inflation(probes, miss))  # six equal eigenvalues
    assert other <= falls_short


@EVERY_SPECTRUM
@pytest.mark.parametrize(("columns", "probes"), [(1, 2), (2, 16), (6, 8)])
def test_shared_bounds_hold_for_all_tokens_as_often_as_stated(spectrum, columns, probes):
    held, trials = 0, 100
    for seed in range(trials):
        jacobians = matrices(spectrum, (2, 5, 8, 6), seed)
        found, true = (
            shared_subspace(Explicit(jacobians), torch.arange(5), columns, probes, 1, 0.95, seed),
            largest(jacobians),
        )
        assert (found.lower <= true * (1 + 1e-6) + 1e-12).all() and torch.equal(found.norm, found.lower)
        held += bool((found.upper * (1 + 1e-9) + 1e-12 >= true).all())
    assert held >= 0.95 * trials


def test_less_confidence_and_more_probes_and_columns_give_narrower_intervals():
    linear, tokens = Explicit(matrices("decaying", (3, 20, 24, 30), 0)), torch.arange(20)

    def width(columns=4, probes=16, iterations=2, confidence=0.95):
        found = shared_subspace(linear, tokens, columns, probes, iterations, confidence, 0)
        return float((found.upper - found.lower).mean())

    assert width(confidence=0.3) < width(confidence=0.95) < width(confidence=0.9999)
    assert width(probes=200) < width() and width(columns=16) < width()


@EVERY_SPECTRUM
@pytest.mark.parametrize("columns", [7, 40])
def test_a_subspace_of_all_entries_of_the_output_leaves_no_interval(spectrum, columns):
    jacobians = matrices(spectrum, (2, 4, 7, 9), 3)
    found = shared_subspace(Explicit(jacobians), torch.arange(4), columns, 8, 1, 0.95, 0)
    torch.testing.assert_close(found.lower, largest(jacobians), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.upper, found.lower, rtol=1e-9, atol=1e-12)


def test_a_common_subspace_is_found_and_nothing_is_left_outside():
    common = torch.linalg.qr(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).double())[0]
    jacobians = common @ matrices("decaying", (2, 6, 3, 10), 4)
    found = shared_subspace(Explicit(jacobians), torch.arange(6), 3, 4, 2, 0.95, 0)
    torch.testing.assert_close(found.lower, largest(jacobians))
    torch.testing.assert_close(found.upper, largest(jacobians))


def test_tokens_of_small_norm_are_estimated_as_well_as_those_of_large_norm():
    jacobians = matrices("decaying", (3, 20, 24, 30), 0)
    sizes = torch.logspace(-3, 3, 60, dtype=torch.float64).view(3, 20)
    tokens, settings = torch.arange(20), (2, 4, 2, 0.95, 0)
    found = shared_subspace(Explicit(jacobians), tokens, *settings)
    scaled = shared_subspace(Explicit(jacobians * sizes[..., None, None]), tokens, *settings)
    torch.testing.assert_close(scaled.lower, found.lower * sizes, rtol=1e-8, atol=0)
    torch.testing.assert_close(scaled.upper, found.upper * sizes, rtol=1e-8, atol=0)


@pytest.mark.parametrize("size", [1e-60, 1e-30, 1e30])
def test_a_block_that_adds_nothing_spoils_nothing(size):
    """The first block holds all that there is; what the second would add is rounding."""
    common = torch.linalg.qr(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).double())[0]
    jacobians = size * common @ matrices("decaying", (2, 6, 3, 10), 4)
    found = shared_subspace(Explicit(jacobians), torch.arange(6), 5, 4, 3, 0.95, 0)
    torch.testing.assert_close(found.lower, largest(jacobians), rtol=1e-7, atol=0)


@pytest.mark.parametrize("iterations", [2, 5])
@pytest.mark.parametrize(("rank", "axes"), [(1, False), (2, False), (2, True), (5, True), (24, False)])
def test_lower_bounds_are_certain_in_single_precision_however_soon_all_is_found(rank, axes, iterations):
    left = torch.eye(300)[:, :rank].double()
    if not axes:
        left = torch.linalg.qr(torch.randn(300, rank, generator=torch.Generator().manual_seed(1)).double())[0]
    jacobians = (left @ matrices("decaying", (2, 9, rank, 40), 2)).float()
    found = shared_subspace(Explicit(jacobians), torch.arange(9), 8, 16, iterations, 0.95, 0)
    true = largest(jacobians.double())
    assert (found.lower <= true * (1 + 1e-5)).all() and (found.upper * (1 + 1e-5) >= true).all()


class Single(Explicit):
    """One layer of them, each token by itself."""

    def __init__(self, stream, layers, batch_size):
        super().__init__(stream.jacobians[layers])
        self.stream = stream

    def vjp_each(self, cotangents, tokens):
        return torch.einsum("tod,to->td", self.jacobians[0, tokens], cotangents)

    def jvp_each(self, tangents, tokens):
        return torch.einsum("tod,td->to", self.jacobians[0, tokens], tangents)


def test_wide_intervals_go_to_lanczos_and_the_others_stay(monkeypatch):
    monkeypatch.setattr("analysis.theorem.operator_norms.Linearised", Single)
    jacobians = matrices("flat", (2, 6, 9, 9), 5)
    jacobians[0, :4] = matrices("rank one", (1, 1, 9, 9), 5)[0] * torch.arange(4, 8)[:, None, None] * 10
    jacobians[1] *= 1e-3  # wide for its size, not in absolute terms
    linear, tokens = Explicit(jacobians), torch.tensor([0, 2, 3, 5])
    linear.stream = SimpleNamespace(jacobians=jacobians, states=[torch.zeros(6, 9).double()])
    rough = {"name": "shared", "subspace_rank": 1, "probes": 4}
    plain, untouched = Estimator(**rough).norms(linear, tokens)
    found, used = Estimator(**rough, max_relative_width=0.05).norms(linear, tokens)
    wide = (plain.upper - plain.lower > 0.05 * plain.upper).numpy()
    assert (untouched == "shared").all() and wide[1].any() and not wide.all()
    assert np.array_equal(used == "lanczos", wide) and np.array_equal(used == "shared", ~wide)
    expected = largest(jacobians)[:, tokens]
    torch.testing.assert_close(found.norm[wide], expected[wide], rtol=1e-6, atol=0)
    assert (found.upper - found.lower <= 1e-6 * found.norm)[wide].all()
    assert torch.equal(found.upper[~wide], plain.upper[~wide])
