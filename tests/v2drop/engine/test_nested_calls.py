"""Calls inside calls: a model that generates while it generates, a hook that calls the model, an interrupted pass."""

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from tests.support.fitted_methods import fitted
from v2drop import METHODS, DyCoke, Schedule, V2Drop
from v2drop.contract.toys import IMAGE_ID, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})
GREEDY = {"do_sample": False, "suppress_tokens": [IMAGE_ID], "max_new_tokens": 4}
ONE, OTHER = batch("llava", ["titttt"]), batch("llava", ["tttti"], seed=1)


class Inside(LogitsProcessor):
    """Calls a function when the second token is chosen."""

    def __init__(self, function):
        self._function, self._left, self.result = function, 2, None

    def __call__(self, input_ids, scores):
        self._left -= 1
        if self._left == 0:
            self.result = self._function()
        return scores


@pytest.mark.parametrize("name", METHODS)
def test_a_model_may_generate_while_it_generates(name):
    model = toy("llava")
    with fitted(name, {1: 4, 3: 2})(model):
        expected = [model.generate(**data.inputs, **GREEDY) for data in (ONE, OTHER)]
        inside = Inside(lambda: model.generate(**OTHER.inputs, **GREEDY))
        got = model.generate(**ONE.inputs, **GREEDY, logits_processor=LogitsProcessorList([inside]))
    assert torch.equal(got, expected[0]) and torch.equal(inside.result, expected[1])


@pytest.mark.parametrize("how", ["generate", "forward", "refused"])
def test_a_run_lasts_as_long_as_its_outermost_call(how):
    """Until then, no other thread may begin, and leaving the `with` waits."""
    model, going_on = toy("llava"), []
    dropping = V2Drop(HALF)(model)
    calls = {
        "generate": lambda: model.generate(**OTHER.inputs, **GREEDY),
        "forward": lambda: model(**OTHER.inputs),
        "refused": lambda: pytest.raises(ValueError, model, **OTHER.inputs, output_attentions=True),
    }

    def call():
        calls[how]()
        going_on.append(dropping._one_thread.runs_here())

    with dropping:
        model.generate(**ONE.inputs, **GREEDY, logits_processor=LogitsProcessorList([Inside(call)]))
        assert going_on == [True] and not dropping._one_thread.runs_here()


PLACES = ["model.vision_tower", "model.multi_modal_projector", "model.language_model.layers.2", "lm_head"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", ["", "model", "generate"])
@pytest.mark.parametrize("name", ["v2drop", "pdrop", "transprune", "mustdrop", "visionzip"])
def test_a_hook_that_calls_the_model_is_refused_and_the_pass_goes_on(name, call, place):
    model, state = toy("llava"), {"inside": False, "errors": []}

    def hook(*_):
        if not state["inside"]:
            state["inside"] = True
            try:
                if call == "generate":
                    model.generate(**OTHER.inputs, **GREEDY)
                else:
                    model.get_submodule(call)(**OTHER.inputs)
            except ValueError as error:
                state["errors"].append(str(error))
            state["inside"] = False

    with fitted(name, {1: 4, 3: 2})(model) as trace:
        expected = model(**ONE.inputs, use_cache=True)
        kept = {layer: x.tolist() for layer, x in trace.kept.items()}
        handle = model.get_submodule(place).register_forward_pre_hook(hook)
        try:
            got = model(**ONE.inputs, use_cache=True)
        finally:
            handle.remove()
        if (place, call) != ("lm_head", "model"):  # there the pass of model.model is over
            assert len(state["errors"]) == 1 and "run by a hook inside a forward pass" in state["errors"][0]
            assert {layer: x.tolist() for layer, x in trace.kept.items()} == kept
        step = {"input_ids": torch.tensor([[7]])}
        steps = [model(**step, past_key_values=out.past_key_values).logits for out in (expected, got)]
    assert torch.equal(got.logits.nan_to_num(7), expected.logits.nan_to_num(7)) and torch.equal(*steps)


METHODS_HERE = {name: fitted(name, {1: 4, 3: 2}) for name in METHODS}
METHODS_HERE["dycoke, both stages"] = DyCoke(Schedule({0: 0.6}), visible_share=0.4, frame_tokens=2)


@pytest.mark.parametrize("place", ["layers.2", "norm"])
@pytest.mark.parametrize("name", METHODS_HERE)
def test_an_interrupted_pass_leaves_nothing_to_the_next(name, place):
    """A KeyboardInterrupt runs no hook of torch's, so nobody is told that the pass is over."""
    model, steps = toy("llava"), []

    def interrupt(*_):
        raise KeyboardInterrupt

    for interrupted in (False, True):
        with METHODS_HERE[name](model):
            cache = model(**ONE.inputs, use_cache=True).past_key_values
            if interrupted:
                handle = model.model.language_model.get_submodule(place).register_forward_pre_hook(interrupt)
                with pytest.raises(KeyboardInterrupt):
                    model(**OTHER.inputs)
                handle.remove()
            for token in (7, 8, 9):
                out = model(input_ids=torch.tensor([[token]]), past_key_values=cache)
            steps.append(torch.cat([out.logits[:, -1], model(**OTHER.inputs).logits[:, -1]]))
    assert torch.equal(*steps)
