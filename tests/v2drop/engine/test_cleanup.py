"""The context manager leaves nothing behind, also after an exception, and can be used again."""

from contextlib import nullcontext

import pytest
import torch

from tests.support.fitted_methods import fitted
from tests.support.left_behind import footprint
from v2drop import METHODS, Random, Schedule, Uniform, V2Drop
from v2drop.contract.toys import FAMILIES, IMAGE_TOKENS, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})


@pytest.fixture
def prompt():
    return batch("llava", ["tittttt"])


def test_nothing_is_left_on_the_model(prompt):
    model = toy("llava")
    model.generate(**prompt.inputs, max_new_tokens=2)  # transformers leaves hooks of its own on first use
    before = footprint(model)
    with V2Drop(HALF)(model):
        assert footprint(model) != before
        model.generate(**prompt.inputs, max_new_tokens=2)
    assert footprint(model) == before


def test_nothing_is_left_after_an_exception_and_the_model_can_be_used_again(prompt):
    model, method = toy("llava"), V2Drop(HALF)
    plain = model(**prompt.inputs).logits
    before = footprint(model)
    with pytest.raises(RuntimeError, match="Boom"), method(model):

        def explode(*_):
            raise RuntimeError("Boom")

        handle = model.model.language_model.layers[2].register_forward_pre_hook(explode)
        try:
            model(**prompt.inputs)
        finally:
            handle.remove()
    assert footprint(model) == before
    assert torch.equal(model(**prompt.inputs).logits, plain)
    with method(model) as trace:
        model(**prompt.inputs)
    assert trace.kept[3].shape == (1, IMAGE_TOKENS // 4)


def test_an_exception_inside_a_layer_does_not_spoil_the_next_run(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model) as trace:
        model(**prompt.inputs)
        first = trace.kept[3].clone()
        with pytest.raises(ValueError, match="output_attentions"):
            model(**prompt.inputs, output_attentions=True)
        model(**prompt.inputs)
        assert torch.equal(trace.kept[3], first)


def test_repeated_use_gives_the_same(prompt):
    for name in METHODS:
        kept = []
        for _ in range(2):
            with fitted(name, {1: 0.5, 3: 0.25})(toy("llava")) as trace:
                toy("llava")(**prompt.inputs)
            kept.append(trace.kept[max(trace.kept)])
        assert torch.equal(*kept), name


def test_nested_use_is_refused_and_the_outer_one_goes_on(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model) as trace:
        with pytest.raises(ValueError, match="already inside"), Random(HALF)(model):
            pass
        model(**prompt.inputs)
        assert len(trace.kept) == 2
    with Uniform(HALF)(model):
        model(**prompt.inputs)


@pytest.mark.parametrize(
    "what",
    [
        "engine.contract.Hooks.install",
        "guards.generate.GenerateGuard.__init__",
        "models.compilation.EagerOnly.__init__",
    ],
)
def test_what_cannot_be_hooked_leaves_nothing(prompt, monkeypatch, what):
    model = toy("llava")
    before = footprint(model)

    def explode(*args):
        raise RuntimeError("no such module")

    with monkeypatch.context() as patch:
        patch.setattr(f"v2drop.{what}", explode)
        with pytest.raises(RuntimeError, match="no such module"), V2Drop(HALF)(model):
            pass
    assert footprint(model) == before
    with V2Drop(HALF)(model):
        model(**prompt.inputs)


@pytest.mark.parametrize("name", METHODS)
def test_an_empty_schedule_drops_nothing(name, prompt):
    if METHODS[name].before_llm:
        pytest.skip(f"{name} declares that it acts at layer 0")
    model = toy("llava")
    plain = model(**prompt.inputs).logits
    with METHODS[name](Schedule({}))(model) as trace:
        assert torch.equal(model(**prompt.inputs).logits, plain)
    assert trace.average_tokens == IMAGE_TOKENS


@pytest.mark.parametrize("option", ["debias", "full_attention_map"])
def test_an_option_that_is_neither_true_nor_false_is_refused(option):
    method = METHODS["fastv"](HALF)
    object.__setattr__(method, option, "no")  # the tests' own type check would refuse it at the constructor
    with pytest.raises(ValueError, match=f"{option} must be True or False; got 'no'"):
        method.__post_init__()


def test_what_the_user_put_on_the_model_stays():
    model = FAMILIES["llama"]()
    with V2Drop(HALF)(model, vision_mask=torch.ones(1, 3, dtype=torch.bool)):
        del model.init_continuous_batching
        model.generate = print
    for _ in range(2):  # also what stood there before
        assert vars(model)["generate"] is print and not model.model._forward_pre_hooks
        with V2Drop(HALF)(model, vision_mask=torch.ones(1, 3, dtype=torch.bool)):
            pass


def test_what_stands_on_the_model_is_gone_afterwards():
    model = toy("llava")
    for broken in (False, True):
        with nullcontext() if not broken else pytest.raises(RuntimeError), V2Drop(HALF)(model):
            assert {"generate", "init_continuous_batching"} <= set(vars(model))
            if broken:
                raise RuntimeError
        assert not {"generate", "init_continuous_batching"} & set(vars(model))


def test_every_with_has_a_trace_of_its_own(prompt):
    model = toy("llava")
    dropping = V2Drop(HALF)(model)
    with dropping as first:
        model(**prompt.inputs)
    lengths, kept = list(first.lengths), first.kept[3].tolist()
    with dropping as second:
        assert second is not first and second.lengths == [] and second.kept == {}
    assert first.lengths == lengths and first.kept[3].tolist() == kept


@pytest.mark.parametrize("part", ["model", "model.model", "model.model.language_model", "model.lm_head"])
def test_a_model_inside_the_with_cannot_be_pickled_and_says_why(part, prompt, tmp_path):
    model = FAMILIES["llava"]().eval()  # one without the hooks that transformers leaves, which cannot be pickled either
    module = model.get_submodule(part.removeprefix("model").removeprefix("."))
    with V2Drop(HALF)(model):
        with pytest.raises(ValueError, match=r"cannot be pickled .*Leave the `with` first, or save model.state_dict"):
            torch.save(module, tmp_path / "model.pt")
        torch.save(module.state_dict(), tmp_path / "model.pt")
    torch.save(module, tmp_path / "model.pt")
    with V2Drop(HALF)(model):
        model(**prompt.inputs)
