"""Variation metrics: identities, extremes, and a float64 reference by plain formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2drop.scoring.variation import METRICS, cosine, l1, l2, relative_l2, transition

EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
SCALES = st.sampled_from([1e-12, 1e-3, 1.0, 1e3, 1e12])


def states(seed=0, n=6, dim=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, dim, generator=generator, dtype=torch.float64).unbind()


def reference(name, before, after):
    """By numpy, one token at a time."""
    values = []
    for x, y in zip(before.numpy(), after.numpy(), strict=True):
        norm_x, norm_y = np.sqrt(x @ x), np.sqrt(y @ y)
        turn = 1 - x @ y / norm_x / norm_y
        values.append(
            {
                "l1": abs(y - x).sum(),
                "l2": np.sqrt(((y - x) ** 2).sum()),
                "cosine": turn,
                "relative_l2": np.sqrt(((y - x) ** 2).sum()) / norm_x,
                "transition": abs(norm_y - norm_x) * turn,
            }[name]
        )
    return torch.tensor(values, dtype=torch.float64)


@EVERY
def test_equals_the_reference_in_float64(metric):
    before, after = states()
    torch.testing.assert_close(metric(before, after), reference(metric.__name__, before, after), rtol=1e-12, atol=0)


@EVERY
@given(seed=st.integers(0, 99), scale=SCALES)
def test_scale_laws(metric, seed, scale):
    before, after = states(seed)
    expected = metric(before, after) * {l1: scale, l2: scale, transition: scale}.get(metric, 1.0)
    torch.testing.assert_close(metric(before * scale, after * scale), expected, rtol=1e-9, atol=0)


@EVERY
def test_no_change_is_zero_and_rows_are_independent(metric):
    before, after = states()
    assert (metric(before, before) == 0).all()
    torch.testing.assert_close(metric(before[:1], after[:1]), metric(before, after)[:1])


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zero_vectors_are_finite_or_infinite_never_nan(metric, dtype):
    zero, other = torch.zeros(1, 4, dtype=dtype), torch.ones(1, 4, dtype=dtype)
    for before, after in ((zero, zero), (zero, other), (other, zero)):
        value = metric(before, after)
        assert not value.isnan().any() and (value >= 0).all()


def test_zero_vectors_by_hand():
    zero, other = torch.zeros(1, 4), torch.full((1, 4), 3.0)
    assert cosine(zero, other) == cosine(other, zero) == 1 and cosine(zero, zero) == 0
    assert relative_l2(zero, other) == torch.inf and relative_l2(zero, zero) == 0 and relative_l2(other, zero) == 1


@EVERY
def test_low_precision_states_are_summed_in_float32(metric):
    """4096 terms: a bfloat16 sum would be stuck after 256 equal terms."""
    torch.manual_seed(0)
    before, after = (torch.randn(3, 4096).bfloat16() for _ in range(2))
    value = metric(before, after)
    assert value.dtype == torch.float32
    expected = reference(metric.__name__, before.double(), after.double())
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-6)


def test_small_turns_are_not_lost_in_cancellation():
    x = torch.tensor([[1.0, 0.0]])
    y = torch.tensor([[1.0, 1e-5]])
    assert cosine(x, y).item() == pytest.approx(0.5e-10, rel=1e-4)  # 1 - cos is 0.0 in float32


def test_extreme_lengths_have_a_direction():
    x, y = torch.tensor([[1e-30, 0.0]]), torch.tensor([[0.0, 1e30]])
    assert cosine(x, y) == 1 and cosine(x, x) == 0


@EVERY
def test_different_shapes_are_refused(metric):
    with pytest.raises((ValueError, TypeError)):
        metric(torch.ones(2, 3), torch.ones(2, 4))
