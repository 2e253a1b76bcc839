"""The residual stream is the model's own, whatever the padding, and the way on from any position reproduces it."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.dense_jacobians import Dense, alone, streams
from tests.support.float64_decoders import KINDS, decoder, prompt
from tests.support.stream_cases import EVERY_FAMILY, EVERY_OPERATOR, NEAR, ROWS, masked, masks
from v2drop.contract.toys import LAYERS, batch, toy


@EVERY_FAMILY
@EVERY_OPERATOR
@pytest.mark.parametrize(
    ("side", "dtype"), [("left", torch.float32), ("right", torch.float64), ("left", torch.float64)]
)
def test_states_and_outputs_are_the_models_own_on_the_row_alone(family, operator, side, dtype):
    model, data = toy(family, operator), batch(family, ROWS[family], side)
    for output, places in (("hidden", {}), ("logits", {"position_ids": data.positions})):
        for row, stream in enumerate(streams(model, data.inputs | places, data.last[:1], dtype, output)):
            assert stream.columns.tolist() == data.present[row].nonzero().flatten().tolist()
            assert stream.length == len(stream.columns) and stream.n_layers == LAYERS and stream.causal
            plain = model(**alone(data, row), output_hidden_states=True)
            assert all(states.dtype == dtype and not states.requires_grad for states in stream.states)
            for got, expected in zip(stream.states[:-1], plain.hidden_states[:-1], strict=True):
                torch.testing.assert_close(got.float(), expected[0], **NEAR)
            last = plain.hidden_states[-1][:, -1] if output == "hidden" else plain.logits[:, -1]
            torch.testing.assert_close(stream.output(stream.states[-1][None]).float(), last, **NEAR)


@EVERY_FAMILY
@EVERY_OPERATOR
def test_resuming_from_any_position_reproduces_the_plain_run(family, operator):
    data = batch(family, ROWS[family])
    for stream in streams(toy(family, operator), data.inputs, data.last[:1]):
        for first in range(stream.length):
            step = stream.resume_from(first, torch.arange(first, stream.length)[None])
            for layer in range(LAYERS):
                rest = slice(first, None) if layer < LAYERS - 1 else slice(-1, None)
                got = step(layer, stream.states[layer][None, first:])
                torch.testing.assert_close(got[0], stream.states[layer + 1][rest], **NEAR)


def test_rows_of_a_batch_may_resume_with_positions_of_their_own():
    (stream,) = streams(decoder(), prompt(1, 7))
    which = torch.tensor([[3, 4, 6], [3, 5, 6], [2, 4, 6]])
    together = stream.resume_from(2, which)(1, torch.stack([stream.states[1][row] for row in which]))
    for row, places in enumerate(which):
        single = stream.resume_from(2, places[None])(1, stream.states[1][places][None])
        torch.testing.assert_close(together[row], single[0])


def test_a_step_runs_a_layer_on_whole_sequences():
    (stream,) = streams(toy("qwen2"), batch("qwen2", ["tvvvvt"]).inputs)
    plain = Dense(toy("qwen2"), batch("qwen2", ["tvvvvt"]).inputs)
    states = torch.stack([stream.states[2], -stream.states[3]])
    for got, expected in zip(stream.step(2, states), states, strict=True):
        torch.testing.assert_close(got, plain.run(plain.decoder.layers[2], expected[None])[0], **NEAR)


@hypothesis_settings(max_examples=25)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    mask=masks(6),
    causal=st.booleans(),
    form=st.sampled_from(["boolean", "additive"]),
)
def test_any_mask_gives_the_states_and_resumed_runs_of_whole_sequences(kind, mask, causal, form):
    mask = mask.tril() if causal else mask
    model, inputs = decoder(kind), prompt(1, 6)
    stream, plain = masked(model, inputs, mask, form), Dense(model, inputs, mask=mask)
    for got, expected in zip(stream.states, plain.states, strict=True):
        torch.testing.assert_close(got, expected[0])
    first = 2 if stream.causal else 0
    step = stream.resume_from(first, torch.arange(first, 6)[None])
    for layer in range(3):
        torch.testing.assert_close(step(layer, stream.states[layer][None, first:])[0], stream.states[layer + 1][first:])
    torch.testing.assert_close(step(3, stream.states[3][None, first:])[0], stream.states[4][-1:])


@pytest.mark.parametrize("form", ["boolean", "additive"])
def test_a_stream_knows_whether_anybody_sees_what_comes_later(form):
    length = 6
    causal = torch.ones(length, length).bool().tril()
    assert masked(decoder(), prompt(1, length), causal, form).causal
    for query in range(length - 1):
        seen = causal.clone()
        seen[query, query + 1] = True
        assert not masked(decoder(), prompt(1, length), seen, form).causal


@EVERY_FAMILY
@EVERY_OPERATOR
def test_attention_of_the_read_position_is_the_models_own_mean_over_heads(family, operator):
    model, data = toy(family, operator), batch(family, ROWS[family])
    for row, stream in enumerate(streams(model, data.inputs, data.last[:1])):
        maps = toy(family, "eager")(**alone(data, row), output_attentions=True).attentions
        for layer, weights in enumerate(maps):
            expected = weights[0].mean(0).double()
            for rows in (1, 2, stream.length):
                torch.testing.assert_close(stream.attention(layer, rows), expected[-rows:], **NEAR)
