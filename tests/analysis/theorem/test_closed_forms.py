"""The theorem where its answer is known: a linear decoder, a smooth one, one with kinks; all in float64."""

import numpy as np
import pytest
import torch

from analysis.residual_stream.decoder_inputs import decoder_inputs
from analysis.residual_stream.frozen_decoder import FrozenDecoder
from analysis.residual_stream.stream import Stream
from analysis.theorem.linearised import Linearised
from analysis.theorem.variation_impact import variation_impact
from tests.support.dense_jacobians import Dense
from tests.support.float64_decoders import MIXED, decoder, prompt

TOKENS = range(1, 5)


def impact(model, *args, **options):
    return variation_impact(model, prompt(), *args, tokens=list(TOKENS), dtype=torch.float64, **options)


def closed_form(model, layer):
    """J_j of a linear decoder behind `layer`, for a token that is not the last one: worked out from its matrices.

    A layer maps X to T X + A T X with T = I + down up a position and A one matrix for all earlier positions, the same
    for each; states behind it that are not the last one's reach the last position through keys and values only.
    """
    eye = torch.eye(model.model.embed.embedding_dim).double()
    length, first = prompt()["input_ids"].shape[1], layer + 1
    whole = torch.eye(length * len(eye)).double()
    earlier = torch.ones(length, length).double().tril() / MIXED
    for one in model.model.layers[first:]:
        value, out, up, down = (part.weight for part in (one.value, one.out, one.up, one.down))
        mix = torch.kron(torch.eye(length).double(), eye) + torch.kron(earlier, out @ value)
        whole = torch.kron(torch.eye(length).double(), eye + down @ up) @ mix @ whole
    return whole[-len(eye) :].unflatten(1, (length, len(eye))).transpose(0, 1)


def test_a_linear_decoder_has_the_alignment_that_its_matrices_say():
    model = decoder("linear")
    states = Dense(model, prompt()).states
    table = impact(model)
    for layer in range(3):
        jacobian = closed_form(model, layer)[list(TOKENS)]
        change = (states[layer + 1] - states[layer])[0, list(TOKENS)]
        moved = torch.einsum("tod,td->to", jacobian, change).norm(dim=-1)
        bound = torch.linalg.svdvals(jacobian)[:, 0] * change.norm(dim=-1)
        rows = table[table.layer == layer]
        np.testing.assert_allclose(rows.revert_impact, moved, rtol=1e-10)
        np.testing.assert_allclose(rows.first_order_impact, moved, rtol=1e-10)
        np.testing.assert_allclose(rows.predicted_impact, bound, rtol=1e-10)
        np.testing.assert_allclose(rows.gain_ratio, moved / bound, rtol=1e-10)


def test_a_linear_decoder_leaves_nothing_to_fit_a_slope_to():
    table = impact(decoder("linear"))
    assert table.taylor_slope.isna().all()


@pytest.mark.parametrize("seed", range(3))
def test_the_slope_of_a_smooth_decoder_is_two(seed):
    slopes = impact(decoder("smooth", seed=seed), [0, 1, 2]).taylor_slope
    assert slopes.notna().all() and slopes.median() == pytest.approx(2, abs=0.15)


def test_the_slope_at_a_kink_is_one():
    model = decoder("kinked", layers=2)
    last = model.model.layers[1]
    with torch.no_grad():  # only the token's own place in the last prompt position's network has kinks, all at X
        states = Dense(model, prompt()).states
        mixed = states[1] + last.out(torch.einsum("btd->bd", last.value(states[1])) / MIXED)[:, None]
        last.up.bias.copy_(-last.up(mixed)[0, -1] + last.up.bias)
    slopes = impact(model, [0]).taylor_slope
    assert slopes.notna().all() and (slopes.sub(1).abs() < 0.05).all()


def test_the_update_of_the_top_singular_direction_makes_the_bound_tight():
    model = decoder("linear", layers=3)
    jacobian = closed_form(model, 0)[2]
    _, _, right = torch.linalg.svd(jacobian)
    stream = streams_of(model)[0]
    linear = Linearised(stream, [0])
    moved = linear.jvp_each(right[:1], torch.tensor([2])).norm()
    assert float(moved) == pytest.approx(float(torch.linalg.svdvals(jacobian)[0]), rel=1e-10)


def test_the_null_of_alignment_is_that_of_a_random_direction():
    model = decoder("linear", layers=2, dim=24)
    jacobian = closed_form(model, 0)[list(TOKENS)]
    expected = jacobian.square().sum((1, 2)) / 24 / torch.linalg.svdvals(jacobian)[:, 0].square()
    draws = [impact(model, [0], taylor_tokens=0, seed=seed).gain_ratio_random.to_numpy() for seed in range(60)]
    spread = np.std(np.square(draws), axis=0) / 60**0.5
    assert (np.abs(np.mean(np.square(draws), axis=0) - expected.numpy()) < 4 * spread).all()
    assert np.max(draws) <= 1


def streams_of(model, kind=Stream):
    network = FrozenDecoder(model, torch.float64, "hidden")
    return [kind(network, decoder_inputs(model, prompt()), 0, torch.arange(7))]


class ReadEarly(Stream):
    """The output is read at position 3."""

    def output(self, states):
        return self.decoder.output_at(states[:, 3])


def test_a_token_behind_the_read_position_has_no_influence():
    (stream,) = streams_of(decoder("smooth"), ReadEarly)
    gradients = Linearised(stream, [0, 2]).vjp_all(torch.eye(6).double(), torch.arange(7))
    assert (gradients[:, 4:] == 0).all() and (gradients[:, :4].abs().amax((2, 3)) > 0).all()


def test_impacts_are_those_of_whole_sequences_through_the_models_own_layers():
    model = decoder("smooth")
    dense, table = Dense(model, prompt()), impact(model, taylor_tokens=0)
    plain = dense.read(dense.states[-1][:, -1])[0]
    for row in table.itertuples():
        reverted = dense.read(dense.reverted(row.layer, row.token)[None])[0]
        dropped = dense.read(dense.dropped(row.layer, row.token)[None])[0]
        assert row.revert_impact == pytest.approx(float((reverted - plain).norm()), rel=1e-9, abs=1e-12)
        assert row.drop_impact == pytest.approx(float((dropped - plain).norm()), rel=1e-9, abs=1e-12)


def test_first_order_impacts_are_finite_differences_of_small_reverts():
    model, share = decoder("smooth"), 1e-5
    dense, table = Dense(model, prompt()), impact(model, taylor_tokens=0)
    for row in table[table.layer < 3].itertuples():
        ends = [dense.read(dense.reverted(row.layer, row.token, side * share)[None])[0] for side in (1, -1)]
        assert row.first_order_impact == pytest.approx(float((ends[1] - ends[0]).norm()) / (2 * share), rel=1e-6)
