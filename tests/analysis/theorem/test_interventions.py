"""Taking back an update and dropping a token, against full runs, the masked-attention oracle and v2drop itself."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analysis.theorem.interventions import remove_token, revert_update
from tests.support.dense_jacobians import Dense, alone, streams
from tests.support.float64_decoders import KINDS, decoder, prompt
from tests.support.stream_cases import EVERY_FAMILY, EVERY_OPERATOR, NEAR, ROWS, masked, masks
from v2drop import Schedule
from v2drop.contract.masks import masks as oracle_masks
from v2drop.contract.oracle import oracle_logits
from v2drop.contract.toys import LAYERS, Batch, batch, toy
from v2drop.methods.base import Method


@dataclass(frozen=True)
class DropOne(Method):
    """In row i of a batch, the i-th vision token has the lowest score."""

    def score(self, candidates):
        return (candidates.vision_index != torch.arange(len(candidates.vision_index))[:, None]).float()


def repeated(data, row, vision):
    """One row without padding as often as it has vision tokens."""
    inputs, n = alone(data, row), len(vision)
    inputs = {key: x.repeat(n, *[1] * (x.ndim - 1)) for key, x in inputs.items()}
    flags = torch.zeros_like(inputs["input_ids"]).bool()
    flags[:, vision] = True
    return Batch(inputs, flags, {"vision_mask": flags} if data.options else {})


@EVERY_FAMILY
@pytest.mark.parametrize(("operator", "side"), [("eager", "left"), ("sdpa", "right")])
def test_reverting_is_a_full_run_with_the_state_replaced(family, operator, side):
    data = batch(family, ROWS[family], side)
    layers = list(range(LAYERS))
    for row, stream in enumerate(streams(toy(family, operator), data.inputs, data.last[:1])):
        plain, tokens = Dense(toy(family), alone(data, row)), torch.arange(stream.length)
        for share in (1.0, 0.25):
            got = revert_update(stream, layers, tokens, share)
            expected = torch.stack(
                [torch.stack([plain.reverted(layer, token, share) for token in tokens]) for layer in layers]
            )
            torch.testing.assert_close(got, expected, **NEAR)


@EVERY_FAMILY
@EVERY_OPERATOR
def test_dropping_is_the_oracle_and_what_v2drop_does(family, operator):
    data, model = batch(family, ROWS[family], "right"), toy(family, operator)
    for row, stream in enumerate(streams(model, data.inputs, [0], torch.float32, "logits")):
        vision = data.vision[row, data.present[row]].nonzero().flatten()
        copies = repeated(data, row, vision)
        dropped = remove_token(stream, list(range(LAYERS)), vision)
        for layer in range(LAYERS - 1):
            left = torch.stack([vision[vision != token] for token in vision])
            visible = oracle_masks(copies.present, {layer + 1: left}, copies.vision, LAYERS)
            expected = oracle_logits(model, copies.inputs, copies.positions, visible)[:, -1]
            with DropOne(Schedule({layer + 1: len(vision) - 1}))(model, **copies.options) as trace:
                real = model(**copies.inputs).logits[:, -1]
            assert torch.equal(trace.kept[layer + 1], left)
            torch.testing.assert_close(stream.decoder.output_at(dropped[layer]), expected, **NEAR)
            torch.testing.assert_close(stream.decoder.output_at(dropped[layer]), real, **NEAR)
        torch.testing.assert_close(dropped[-1], stream.states[-1][-1].expand_as(dropped[-1]), **NEAR)


def check_against_full_runs(kind, mask, share, batch_size, order):
    model, inputs, tokens = decoder(kind), prompt(1, 6), torch.tensor(order)
    stream, plain = masked(model, inputs, mask), Dense(model, inputs, mask=mask)
    reverted, dropped = (
        revert_update(stream, [0, 2, 3], tokens, share, batch_size),
        remove_token(stream, [0, 2, 3], tokens, batch_size),
    )
    for i, layer in enumerate((0, 2, 3)):
        for j, token in enumerate(order):
            torch.testing.assert_close(reverted[i, j], plain.reverted(layer, token, share))
            torch.testing.assert_close(dropped[i, j], plain.dropped(layer, token))


@hypothesis_settings(max_examples=20)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    mask=masks(6),
    causal=st.booleans(),
    share=st.floats(-1, 2),
    batch_size=st.integers(1, 7),
    order=st.permutations(range(5)),
)
def test_any_chunk_and_order_gives_what_full_runs_give(kind, mask, causal, share, batch_size, order):
    mask[0, 1] = True
    check_against_full_runs(kind, torch.ones(6, 6).bool().tril() if causal else mask, share, batch_size, order)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("query", [2, 4, 5])
def test_a_causal_mask_with_holes_gives_what_full_runs_give(kind, query):
    mask = torch.ones(6, 6).bool().tril()
    mask[query, 1] = False
    check_against_full_runs(kind, mask, 1.0, 4, range(5))


@EVERY_FAMILY
def test_prefixes_that_see_each_other_on_real_layers(family):
    data = batch(family, [ROWS[family][0]])
    length = data.present.shape[1]
    mask = torch.ones(length, length).bool().tril()
    mask[:4, :4] = True
    stream, plain = masked(toy(family), data.inputs, mask), Dense(toy(family), data.inputs, mask=mask)
    tokens = torch.arange(5)
    reverted, dropped = revert_update(stream, [0, 3], tokens), remove_token(stream, [0, 3], tokens)
    for i, layer in enumerate((0, 3)):
        for token in tokens:
            torch.testing.assert_close(reverted[i, token], plain.reverted(layer, token), **NEAR)
            torch.testing.assert_close(dropped[i, token], plain.dropped(layer, token), **NEAR)


def test_the_last_token_cannot_be_dropped_but_reverted():
    (stream,) = streams(decoder(), prompt(1, 7))
    with pytest.raises(ValueError, match="last token of a prompt cannot be dropped"):
        remove_token(stream, [1], torch.tensor([2, 6]))
    got = revert_update(stream, [3], torch.tensor([6]))
    torch.testing.assert_close(got[0, 0], stream.states[3][6])


def test_taking_back_nothing_changes_nothing():
    (stream,) = streams(decoder(), prompt(1, 7))
    got = revert_update(stream, range(4), torch.arange(7), share=0.0)
    torch.testing.assert_close(got, stream.states[-1][-1].expand_as(got))


def test_of_a_linear_decoder_the_updates_effects_add_up():
    (stream,) = streams(decoder("linear"), prompt(1, 7))
    single = revert_update(stream, [1], torch.arange(7))[0] - stream.states[-1][-1]
    for share in (0.5, -2.0):
        part = revert_update(stream, [1], torch.arange(7), share)[0] - stream.states[-1][-1]
        torch.testing.assert_close(part, share * single)
    plain = Dense(decoder("linear"), prompt(1, 7))
    together = plain.onward(plain.states[1], 1)[0] - stream.states[-1][-1]
    torch.testing.assert_close(single.sum(0), together)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_put_back_also_after_an_error(threads):
    (stream,) = streams(decoder(), prompt(1, 7))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = revert_update(stream, range(4), torch.arange(7), batch_size=2)
        assert torch.get_num_threads() == threads
        stream.resume_from = None
        with pytest.raises(TypeError):
            remove_token(stream, range(4), torch.arange(6), batch_size=2)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    del stream.resume_from
    torch.testing.assert_close(revert_update(stream, range(4), torch.arange(7)), expected)
