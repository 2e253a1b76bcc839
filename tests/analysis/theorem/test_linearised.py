"""Products with Jacobians: adjoint to each other, sums over layers and tokens, equal to differences of plain runs."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analysis.theorem.linearised import Linearised
from tests.support.dense_jacobians import Dense, alone, streams
from tests.support.float64_decoders import KINDS, decoder, prompt
from v2drop.contract.toys import batch, toy


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def linearised(layers, batch_size=32, kind="smooth", length=6, seed=0, output="hidden"):
    return Linearised(streams(decoder(kind, 4, 6, seed), prompt(1, length, seed), output=output)[0], layers, batch_size)


TOKENS = torch.tensor([0, 2, 3, 5])


@hypothesis_settings(max_examples=15)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    layers=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True).map(sorted),
    tokens=st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True).map(torch.tensor),
    seed=st.integers(0, 99),
    batch_size=st.integers(1, 9),
)
def test_push_and_pull_are_adjoint(kind, layers, tokens, seed, batch_size):
    linear = linearised(layers, batch_size, kind, seed=seed)
    u, v = draws(3, 6), draws(len(layers), len(tokens), 4, 6, seed=1)
    there = linear.jvp_sum(v, tokens) @ u.T
    back = torch.einsum("ltnd,ltmd->nm", v, linear.vjp_all(u, tokens))
    torch.testing.assert_close(there, back, rtol=1e-11, atol=1e-12)
    u, v = draws(len(tokens), 6), draws(len(tokens), 6, seed=1)
    there, back = ((linear.jvp_each(v, tokens) * u).sum(1), (linear.vjp_each(u, tokens) * v).sum(1))
    torch.testing.assert_close(there, back, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["smooth", "linear"])
@pytest.mark.parametrize("output", ["hidden", "logits"])
@pytest.mark.parametrize("layer", range(4))
def test_a_push_is_the_central_difference_of_plain_runs(kind, output, layer):
    linear = linearised([layer], 2, kind, output=output)
    plain, v, step = Dense(decoder(kind), prompt(1, 6)), draws(1, 4, 3, 6), 1e-5
    each = linear.jvp_each(v[0, :, 0], TOKENS)

    def difference(added):
        ahead, back = (plain.onward(plain.states[layer + 1] + sign * step * added, layer) for sign in (1, -1))
        return (plain.read(ahead, output) - plain.read(back, output))[0] / (2 * step)

    for n in range(3):
        added = torch.zeros(6, 6).double().index_copy(0, TOKENS, v[0, :, n])
        torch.testing.assert_close(linear.jvp_sum(v, TOKENS)[n], difference(added), rtol=1e-7, atol=1e-8)
    for row in range(4):
        added = torch.zeros(6, 6).double().index_copy(0, TOKENS[row : row + 1], v[0, row, :1])
        torch.testing.assert_close(each[row], difference(added), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("family", ["llava", "llama", "qwen2"])
def test_products_on_real_layers_are_those_of_the_dense_jacobian(family):
    data = batch(family, ["titt" if family == "llava" else "tvvvtt"])
    (stream,) = streams(toy(family), data.inputs)
    plain = Dense(toy(family), alone(data, 0))
    linear, u, v = Linearised(stream, [1, 3]), draws(2, 32), draws(2, 4, 3, 32)
    jacobians = torch.stack([plain.jacobians(layer) for layer in (1, 3)])[:, TOKENS]
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(linear.vjp_all(u, TOKENS), torch.einsum("ltod,no->ltnd", jacobians, u), **near)
    torch.testing.assert_close(linear.jvp_sum(v, TOKENS), torch.einsum("ltod,ltnd->no", jacobians, v), **near)


def test_several_layers_are_the_sum_over_each_alone():
    together, u, v = linearised([0, 1, 3]), draws(5, 6), draws(3, 4, 5, 6)
    alone = [linearised([layer]) for layer in (0, 1, 3)]
    pulled = torch.cat([one.vjp_all(u, TOKENS) for one in alone])
    torch.testing.assert_close(together.vjp_all(u, TOKENS), pulled, rtol=1e-12, atol=1e-13)
    pushed = sum(one.jvp_sum(v[i : i + 1], TOKENS) for i, one in enumerate(alone))
    torch.testing.assert_close(together.jvp_sum(v, TOKENS), pushed, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(together.jvp_each(v[0, :, 0], TOKENS), alone[0].jvp_each(v[0, :, 0], TOKENS))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_the_chunk_does_not_matter(batch_size):
    whole, split, u, v = linearised([1, 2]), linearised([1, 2], batch_size), draws(7, 6), draws(2, 4, 7, 6)
    same = {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(split.vjp_all(u, TOKENS), whole.vjp_all(u, TOKENS), **same)
    torch.testing.assert_close(split.jvp_sum(v, TOKENS), whole.jvp_sum(v, TOKENS), **same)
    torch.testing.assert_close(split.vjp_each(u[:4], TOKENS), whole.vjp_each(u[:4], TOKENS), **same)
    torch.testing.assert_close(split.jvp_each(v[0, :, 0], TOKENS), whole.jvp_each(v[0, :, 0], TOKENS), **same)


def test_the_linearised_output_is_that_of_the_plain_run():
    plain = Dense(decoder(), prompt(1, 6))
    for output in ("hidden", "logits"):
        torch.testing.assert_close(
            linearised([2], output=output).output, plain.read(plain.states[-1][:, -1], output)[0]
        )
