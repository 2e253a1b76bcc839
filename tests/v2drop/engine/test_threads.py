"""Threads: one `with` runs one thread at a time, from its first hook on, and is left when no run is going on."""

from threading import Event, Thread, current_thread
from time import monotonic, sleep

import pytest
import torch
from transformers import TextIteratorStreamer

from tests.support.fitted_methods import fitted
from tests.support.left_behind import footprint
from v2drop import METHODS, Schedule, V2Drop
from v2drop.contract.toys import IMAGE_ID, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})
GREEDY = {"do_sample": False, "suppress_tokens": [IMAGE_ID], "max_new_tokens": 6}
SECONDS = 30


class Gate:
    """A forward pre-hook at which one thread stands until it is let through."""

    def __init__(self, module, call=1):
        self.reached, self.open, self._left = Event(), Event(), call
        self._handle = module.register_forward_pre_hook(self._stand)

    def _stand(self, *_):
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            assert self.open.wait(SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open.set()
        self._handle.remove()


class Run(Thread):
    """A call in a thread of its own: its result, or its error."""

    def __init__(self, function, **kwargs):
        super().__init__()
        self.function, self.kwargs, self.result, self.error = function, kwargs, None, None
        self.start()

    def run(self):
        try:
            self.result = self.function(**self.kwargs)
        except BaseException as error:
            self.error = error

    def ended(self):
        self.join(SECONDS)
        assert not self.is_alive()
        return self


# From the first module that runs to the last.
PLACES = {
    "model.vision_tower": lambda model: model.model.vision_tower,
    "model.multi_modal_projector": lambda model: model.model.multi_modal_projector,
    "decoder": lambda model: model.model.language_model,
    "layer": lambda model: model.model.language_model.layers[2],
    "lm_head": lambda model: model.lm_head,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_second_thread_is_refused_wherever_the_first_one_is(place):
    model, one, other = toy("llava"), batch("llava", ["titttt"]), batch("llava", ["tttti"], seed=1)
    with V2Drop(HALF)(model) as trace:
        expected = model(**one.inputs).logits[:, -1]
        kept = trace.kept[3].tolist()
        with Gate(PLACES[place](model)) as gate:
            first = Run(model, **one.inputs)
            assert gate.reached.wait(SECONDS)
            for call in (model, model.generate, model.model, model.model.vision_tower):
                inputs = {"pixel_values": other.inputs["pixel_values"]} if call is model.model.vision_tower else None
                with pytest.raises(ValueError, match="another thread runs this model .*one model for each thread"):
                    call(**inputs or other.inputs)
        assert torch.equal(first.ended().result.logits[:, -1], expected) and trace.kept[3].tolist() == kept
        assert torch.equal(Run(model, **one.inputs).ended().result.logits[:, -1], expected)  # afterwards it is free


def test_a_layer_called_in_another_thread_is_no_run():
    model, one = toy("llava"), batch("llava", ["titttt"])
    layer = model.model.language_model.layers[1]
    states = torch.randn(1, 5, model.config.text_config.hidden_size)
    angles = model.model.language_model.rotary_emb(states, torch.arange(5)[None])
    alone = layer(states, position_embeddings=angles, attention_mask=None)
    with V2Drop(HALF)(model), Gate(PLACES["layer"](model)) as gate:
        first = Run(model, **one.inputs)
        assert gate.reached.wait(SECONDS)
        assert torch.equal(layer(states, position_embeddings=angles, attention_mask=None), alone)
        gate.open.set()
        assert first.ended().error is None


def test_a_refused_or_failed_call_frees_the_model():
    model, one = toy("llava"), batch("llava", ["titttt"])
    with V2Drop(HALF)(model):
        expected = model(**one.inputs).logits[:, -1]
        for wrong in ({"output_attentions": True}, {"pixel_values": one.inputs["pixel_values"][..., :-1]}):
            with pytest.raises((ValueError, RuntimeError)):
                model(**one.inputs | wrong)
            with pytest.raises((ValueError, RuntimeError)):
                model.generate(**one.inputs | wrong)
            assert torch.equal(Run(model, **one.inputs).ended().result.logits[:, -1], expected)


class Words:
    """The least that a streamer asks of a tokenizer."""

    def decode(self, ids, **_):
        return " ".join(map(str, ids)) + " "


@pytest.mark.parametrize("name", ["v2drop", "pdrop", "sparsevlm", "mustdrop", "transprune", "dycoke"])
@pytest.mark.parametrize("rows", [["titttt"], ["titttt", "tit", "tttt"]], ids=["one row", "ragged"])
def test_leaving_waits_for_generate_in_another_thread(name, rows):
    model, data = toy("llava"), batch("llava", rows)
    before, method = footprint(model), fitted(name, {1: 4, 3: 2})
    with method(model):
        expected = model.generate(**data.inputs, **GREEDY)
    with Gate(model.model.language_model, call=3) as gate:
        with method(model):
            run = Run(model.generate, **data.inputs, **GREEDY)
            assert gate.reached.wait(SECONDS)
            Run(lambda: (sleep(0.2), gate.open.set()))
        assert run.ended().error is None and torch.equal(run.result, expected)
    assert footprint(model) == before


def test_a_streamer_can_be_read_after_the_with():
    model, data = toy("llava"), batch("llava", ["titttt"])
    streamer = TextIteratorStreamer(Words(), skip_prompt=True)
    with V2Drop(HALF)(model):
        expected = model.generate(**data.inputs, **GREEDY)[0, data.present.shape[1] :]
        Run(model.generate, **data.inputs, **GREEDY, streamer=streamer)
    assert "".join(streamer).split() == [str(int(token)) for token in expected]


def test_a_generate_that_was_taken_inside_the_with_is_refused_afterwards():
    """A thread may come to it only when the `with` was left."""
    model, data = toy("llava"), batch("llava", ["titttt"])
    with V2Drop(HALF)(model):
        taken = model.generate
    with pytest.raises(ValueError, match="belongs to a dropping `with` that was left"):
        taken(**data.inputs, **GREEDY)
    assert model.generate(**data.inputs, **GREEDY).shape[1] == data.present.shape[1] + 6


def test_a_wait_that_is_interrupted_ends_the_run_and_leaves_nothing(monkeypatch):
    """Without the drops it would go on as another run."""
    from v2drop.guards.one_thread import OneThread

    def interrupted(*_):
        raise KeyboardInterrupt

    model, data = toy("llava"), batch("llava", ["titttt"])
    before = footprint(model)
    with Gate(model.model.language_model, call=3) as gate:
        with pytest.raises(KeyboardInterrupt), V2Drop(HALF)(model):
            run = Run(model.generate, **data.inputs, **GREEDY)
            assert gate.reached.wait(SECONDS)
            monkeypatch.setattr(OneThread, "_wait", interrupted)
        monkeypatch.undo()
        gate.open.set()
        assert "belongs to a dropping `with` that was left" in str(run.ended().error)
    assert footprint(model) == before
    with V2Drop(HALF)(model):
        model(**data.inputs)


def test_a_thread_that_died_inside_a_run_does_not_keep_the_model():
    """SystemExit and KeyboardInterrupt run no hook of torch's."""
    model, data = toy("llava"), batch("llava", ["titttt"])

    def die(*_):
        if current_thread() is not main:
            raise SystemExit

    main = current_thread()
    with V2Drop(HALF)(model):
        handle = model.model.language_model.layers[1].register_forward_pre_hook(die)
        Run(model, **data.inputs).join(SECONDS)
        handle.remove()
        model(**data.inputs)
        handle = model.model.language_model.layers[1].register_forward_pre_hook(die)
        Run(model, **data.inputs).join(SECONDS)
        handle.remove()
        start = monotonic()
    assert monotonic() - start < SECONDS


def test_every_method_runs_in_one_thread_after_another():
    model, data = toy("llava"), batch("llava", ["titttt", "tittttt"])
    for name in METHODS:
        with fitted(name, {1: 4, 3: 2})(model):
            runs = [Run(model.generate, **data.inputs, **GREEDY).ended() for _ in range(2)]
        assert torch.equal(*(run.result for run in runs)), name
