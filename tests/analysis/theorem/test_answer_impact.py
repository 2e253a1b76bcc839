"""The answer's log probability as an output: signed changes, gradients, and answers of several tokens."""

import numpy as np
import pytest
import torch

from analysis.theorem.variation_impact import variation_impact
from tests.support.dense_jacobians import Dense, alone
from tests.support.float64_decoders import decoder
from tests.support.float64_decoders import prompt as text
from v2drop.contract.toys import FAMILIES, batch, toy

EACH = pytest.mark.parametrize("family", FAMILIES)
ANSWERS = [[7], [9]]
COLUMNS = ["revert_answer", "drop_answer", "first_order_answer", "predicted_answer", "answer_gradient"]


def prompt(family, rows=("ttitt", "titttt"), side="left"):
    rows = list(rows) if family == "llava" else [row.replace("i", "vvvv") for row in rows]
    return batch(family, rows, side)


def impact(family, data, answers, model=None, **options):
    options = {"taylor_tokens": 0, "dtype": torch.float64, "tokens": data.vision} | options
    return variation_impact(model or toy(family), data.inputs, answers=answers, **options)


class Answered(Dense):
    """A prompt and the beginning of its answer; the log probability of a token behind them."""

    def __init__(self, family, data, row, answer=()):
        inputs = alone(data, row)
        ids = torch.cat([inputs["input_ids"], torch.tensor([answer], dtype=torch.long)], 1)
        super().__init__(toy(family), inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def log_p(self, last_states, token):
        return self.read(last_states, "logits").log_softmax(-1)[..., token]

    def plain(self, token):
        return self.log_p(self.states[-1][:, -1], token)[0]


@EACH
def test_signed_impacts_are_those_of_whole_sequences(family):
    data = prompt(family)
    table = impact(family, data, ANSWERS, layers=[0, 2])
    for sample, (token,) in enumerate(ANSWERS):
        dense = Answered(family, data, sample)
        pad = int((~data.present[sample]).sum())
        for row in table[table["sample"] == sample].iloc[::3].itertuples():
            changed = dense.reverted(row.layer, row.token - pad), dense.dropped(row.layer, row.token - pad)
            expected = [float(dense.plain(token) - dense.log_p(states[None], token)[0]) for states in changed]
            np.testing.assert_allclose([row.revert_answer, row.drop_answer], expected, rtol=1e-4, atol=1e-6)


@EACH
def test_the_gradient_is_that_of_the_dense_jacobian_of_the_logits(family):
    """By the chain rule: the gradient of log p by logits is one-hot minus the probabilities."""
    data = prompt(family)
    table = impact(family, data, ANSWERS, layers=[1])
    for sample, (token,) in enumerate(ANSWERS):
        dense = Answered(family, data, sample)
        logits = dense.read(dense.states[-1][:, -1], "logits")[0]
        slope = torch.nn.functional.one_hot(torch.tensor(token), len(logits)) - logits.softmax(-1)
        gradient = torch.einsum("tod,o->td", dense.jacobians(1, "logits"), slope)
        update = (dense.states[2] - dense.states[1])[0]
        own = data.vision[sample, data.present[sample]]
        rows = table[table["sample"] == sample]
        np.testing.assert_allclose(rows.answer_gradient, gradient.norm(dim=-1)[own], rtol=1e-5)
        np.testing.assert_allclose(rows.first_order_answer, (gradient * update).sum(-1)[own], rtol=1e-4, atol=1e-6)
        bound = (gradient.norm(dim=-1) * update.norm(dim=-1))[own]
        np.testing.assert_allclose(rows.predicted_answer, bound, rtol=1e-5)


def test_impacts_and_first_orders_of_a_decoder_in_float64_are_exact():
    """First orders against central differences, changes against whole sequences through the model's own layers."""
    model, share, token = decoder("smooth"), 1e-4, 5
    table = variation_impact(
        model, text(), tokens=[1, 2, 3, 4], answers=[[token]], dtype=torch.float64, taylor_tokens=0
    )
    dense = Dense(model, text())

    def log_p(states):
        return float(dense.read(states[None], "logits").log_softmax(-1)[0, token])

    plain = log_p(dense.states[-1][0, -1])
    for row in table[table.layer < 3].itertuples():
        less, more = (log_p(dense.reverted(row.layer, row.token, side * share)) for side in (1, -1))
        assert row.first_order_answer == pytest.approx((more - less) / (2 * share), rel=1e-6, abs=1e-11)
        assert row.revert_answer == pytest.approx(plain - log_p(dense.reverted(row.layer, row.token)), rel=1e-9)
        assert row.drop_answer == pytest.approx(plain - log_p(dense.dropped(row.layer, row.token)), rel=1e-9)


@EACH
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_answer_of_several_tokens_is_the_sum_over_its_tokens_behind_the_ones_before(family, side):
    data, answers = prompt(family, side=side), [[7], [9, 11, 9]]
    table = impact(family, data, answers, layers=[1])
    rows = table[table["sample"] == 1]
    pad = int((~data.present[1]).sum()) if side == "left" else 0
    expected = np.zeros((2, len(rows)))
    for n, token in enumerate(answers[1]):
        dense = Answered(family, data, 1, answers[1][:n])
        for i, at in enumerate(rows.token - pad):
            changed = dense.reverted(1, at), dense.dropped(1, at)
            expected[:, i] += [float(dense.plain(token) - dense.log_p(states[None], token)[0]) for states in changed]
    np.testing.assert_allclose(rows[["revert_answer", "drop_answer"]].T, expected, rtol=1e-4, atol=1e-6)
    one = impact(family, data, [[7], [9]], layers=[1])
    unchanged = one["sample"] == 0
    np.testing.assert_allclose(table.loc[unchanged, COLUMNS], one.loc[unchanged, COLUMNS], rtol=1e-4, atol=1e-6)


def test_gradients_of_several_tokens_add_up():
    data = prompt("llama", ("ttitt",))
    whole = impact("llama", data, [[9, 11]], layers=[1])
    parts = [Answered("llama", data, 0, beginning) for beginning in ([], [9])]
    own = data.vision[0].nonzero().flatten()
    gradient = torch.zeros(len(own), parts[0].states[0].shape[-1]).double()
    for dense, token in zip(parts, (9, 11), strict=True):
        logits = dense.read(dense.states[-1][:, -1], "logits")[0]
        slope = torch.nn.functional.one_hot(torch.tensor(token), len(logits)) - logits.softmax(-1)
        gradient += torch.einsum("tod,o->td", dense.jacobians(1, "logits"), slope)[own]
    np.testing.assert_allclose(whole.answer_gradient, gradient.norm(dim=-1), rtol=1e-5)


@EACH
def test_the_three_outputs_do_not_depend_on_which_is_the_theorems(family):
    data = prompt(family)
    hidden, logits = (impact(family, data, ANSWERS, layers=[1], output=output) for output in ("hidden", "logits"))
    few = impact(family, data, ANSWERS, layers=[1], output="logits", candidates=[3, 5])
    same = [*COLUMNS, "revert_logits", "drop_logits", "revert_kl", "drop_kl"]
    for other in (logits, few):
        np.testing.assert_allclose(hidden[same], other[same], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits.revert_impact, logits.revert_logits, rtol=1e-5)
    np.testing.assert_allclose(logits.drop_impact, logits.drop_logits, rtol=1e-5)


def test_without_an_answer_its_columns_are_nan():
    table = impact("llama", prompt("llama"), None, layers=[1])
    assert table[COLUMNS].isna().all(axis=None) and table[["revert_kl", "drop_logits"]].notna().all(axis=None)


def test_behind_the_last_layer_no_token_has_an_answer_to_change():
    table = impact("llama", prompt("llama"), ANSWERS, layers=[4])
    assert (table[COLUMNS].abs() < 1e-12).all(axis=None)


@pytest.mark.parametrize("wrong", [[[7]], [7, 9], [[7], []], "ab", 7, [[7], ["9"]], [[7], [64]], [[7], [-1]]], ids=repr)
def test_wrong_answers_are_told_what_is_allowed(wrong, without_type_checker):
    with pytest.raises(ValueError, match="answers must be .*; got"):
        impact("llama", prompt("llama"), wrong, layers=[1])


def test_positions_of_ones_own_leave_no_place_for_an_answer_of_several_tokens():
    data = prompt("llama")
    inputs = data.inputs | {"position_ids": data.positions}
    with pytest.raises(ValueError, match="input_ids without position_ids where an answer has several tokens"):
        variation_impact(toy("llama"), inputs, 1, data.vision, answers=[[7, 8], [9]], taylor_tokens=0)
    variation_impact(toy("llama"), inputs, 1, data.vision, answers=[[7], [9]], taylor_tokens=0)
