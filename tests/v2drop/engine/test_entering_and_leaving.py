"""A `with` is entered by one thread, waits for a `generate` of the user's own too, and frees the model at once."""

import gc
import weakref
from functools import partial
from threading import Barrier, Event
from time import sleep

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from tests.support.fitted_methods import fitted
from tests.v2drop.engine.test_threads import SECONDS, Run
from v2drop import METHODS, Schedule, V2Drop
from v2drop.contract.toys import FAMILIES, IMAGE_ID, batch, toy

GREEDY = {"do_sample": False, "suppress_tokens": [IMAGE_ID], "max_new_tokens": 6}
ONE = batch("llava", ["titttt"])


def test_two_threads_that_enter_at_once_do_not_both_drop():
    model, ready, entered = toy("llava"), Barrier(2), []

    class Slow(V2Drop):
        def hooks(self):
            sleep(0.2)
            return super().hooks()

    def enter():
        dropping = Slow(Schedule({1: 0.5}))(model)
        ready.wait(SECONDS)
        dropping.__enter__()
        entered.append(dropping)

    runs = [Run(enter) for _ in range(2)]
    errors = [str(run.ended().error) for run in runs if run.ended().error is not None]
    for dropping in entered:
        dropping.__exit__(None, None, None)
    assert len(entered) == 1 and len(errors) == 1 and "already inside" in errors[0]


def test_hooks_of_a_method_that_fail_leave_the_model_free():
    class Broken(V2Drop):
        def hooks(self):
            raise RuntimeError("no hooks")

    model = toy("llava")
    with pytest.raises(RuntimeError, match="no hooks"), Broken(Schedule({1: 0.5}))(model):
        pass
    with V2Drop(Schedule({1: 0.5}))(model):
        model(**ONE.inputs)


class Pause(LogitsProcessor):
    """Stands between two forward passes until it is let through."""

    def __init__(self):
        self.reached, self.open = Event(), Event()

    def __call__(self, input_ids, scores):
        self.reached.set()
        assert self.open.wait(SECONDS)
        return scores


def test_leaving_waits_for_a_generate_of_the_users_own():
    """One that stands on the model itself, in front of its class's."""
    model, method = FAMILIES["llava"]().eval(), fitted("pdrop", {1: 4, 3: 2})
    own = model.generate = partial(type(model).generate, model)
    with method(model):
        expected = model.generate(**ONE.inputs, **GREEDY)
    pause = Pause()
    with method(model):
        run = Run(model.generate, **ONE.inputs, **GREEDY, logits_processor=LogitsProcessorList([pause]))
        assert pause.reached.wait(SECONDS)
        opener = Run(lambda: (sleep(0.2), pause.open.set()))
    assert pause.open.is_set() and run.ended().error is None and torch.equal(run.result, expected)
    opener.ended()
    assert vars(model)["generate"] is own


@pytest.mark.parametrize("name", METHODS)
def test_a_model_is_freed_at_once_when_nobody_holds_it(name):
    """By counting references alone: its memory is a GPU's."""
    model = FAMILIES["llava"]().eval().requires_grad_(False)
    held = weakref.ref(model), weakref.ref(model.model.language_model.layers[0].mlp.up_proj.weight)
    gc.collect()
    gc.disable()
    try:
        with fitted(name, {1: 4, 3: 2})(model) as trace:
            cache = model(**ONE.inputs, use_cache=True).past_key_values
            model.generate(**ONE.inputs, **GREEDY)
        del model
        assert [each() for each in held] == [None, None]
        assert cache.layers and trace.lengths
    finally:
        gc.enable()
