"""The rule that says which layers close the gaps in position ids; what it does is held to the oracle elsewhere."""

import pytest
import torch

from v2drop import METHODS, PDrop, Schedule, Uniform
from v2drop.contract.toys import LAYERS, batch, toy
from v2drop.sequence.position_ids import repacks_at


@pytest.mark.parametrize("name", METHODS)
def test_a_rule_of_all_layers_is_keep_and_of_none_is_repack(name):
    kind = METHODS[name]
    schedule = Schedule({0: 4} if kind.before_llm else {1: 4})
    assert kind(schedule).positions == kind.positions in ("keep", "repack")
    assert kind(schedule, positions=()).positions == "repack"
    assert kind(schedule, positions=range(3)).positions == (0, 1, 2)
    everywhere = kind(schedule, positions=range(LAYERS)).positions
    assert not any(repacks_at(everywhere, layer) for layer in range(LAYERS))


@pytest.mark.parametrize(
    "left, rule, word",
    [
        *((left, range(LAYERS), "keep") for left in ({0: 5}, {1: 5, 3: 2}, {0: 6, 2: 3})),
        *((left, (0,), "repack") for left in ({1: 5}, {1: 5, 3: 2})),  # before the first drop there is no gap
    ],
)
def test_rules_that_say_what_a_word_says_compute_the_same(left, rule, word):
    data, model, logits = batch("llama", ["tvvvvvvvtt", "vvvvttt"]), toy("llama"), []
    for positions in (rule, word):
        with Uniform(Schedule(left), positions=positions)(model, **data.options):
            out = model(**data.inputs)
            later = model(input_ids=torch.tensor([[5, 6]] * 2), past_key_values=out.past_key_values)
        logits.append(torch.cat([out.logits[:, -1:], later.logits], 1))
    torch.testing.assert_close(*logits, atol=1e-6, rtol=1e-5)


def test_one_layer_more_or_less_that_keeps_them_changes_the_answer():
    data, model = batch("llama", ["tvvvvvvvvvvvtt"]), toy("llama")
    logits = []
    for keeping in [(), *((layer,) for layer in range(LAYERS))]:
        with PDrop(Schedule({1: 0.3}), positions=keeping)(model, **data.options):
            logits.append(model(**data.inputs).logits[0, -1])
    same = [torch.equal(one, logits[0]) for one in logits]
    assert same == [True, True, *[False] * (LAYERS - 1)]  # nothing is dropped before layer 1


@pytest.mark.parametrize("name", METHODS)
def test_layers_that_the_model_does_not_have_are_refused(name):
    kind = METHODS[name]
    method = kind(Schedule({0: 4} if kind.before_llm else {1: 4}), positions=range(2, LAYERS + 2))
    with pytest.raises(ValueError, match=rf"positions must be .* 0 to {LAYERS - 1}; got \[{LAYERS}, {LAYERS + 1}\]"):
        method(toy("llama"))


@pytest.mark.parametrize("positions", ["kept", 3, (-1,), (1, 1), (0.5,), None])
def test_what_is_no_rule_is_refused(positions, without_type_checker):
    with pytest.raises(ValueError, match="positions must be"):
        Uniform(Schedule({1: 3}), positions=positions)
