"""torch.compile: refused where it shows, run as written where it does not; never silently without dropping."""

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

from v2drop import Schedule, V2Drop
from v2drop.contract.toys import FAMILIES, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})
# torch's own, on importing its compiler
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture
def model():
    torch.manual_seed(1)
    torch.compiler.reset()
    yield FAMILIES["llama"]().eval().requires_grad_(False)
    torch.compiler.reset()


@pytest.fixture
def data():
    return batch("llama", ["tvvvvvvttt", "vvvvvvtt"])


def compiled(what):
    return torch.compile(what, backend="eager")


def replace_forward(module):
    module.forward = compiled(module.forward)


def replace_decoder(model):
    model.model = compiled(model.model)


def replace_layer(model):
    model.model.layers[2] = compiled(model.model.layers[2])


WAYS = {
    "compile()": lambda model: model.compile(backend="eager"),
    "forward": replace_forward,
    "decoder": replace_decoder,
    "decoder's compile()": lambda model: model.model.compile(backend="eager"),
    "layer": replace_layer,
    "layer's compile()": lambda model: model.model.layers[2].compile(backend="eager"),
    "layer's forward": lambda model: replace_forward(model.model.layers[2]),
    "self-attention": lambda model: replace_forward(model.model.layers[0].self_attn),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_is_compiled_anywhere_is_refused(way, model, data):
    WAYS[way](model)
    with pytest.raises(ValueError, match=r"the model is compiled \(.*pass the model as it was before torch.compile"):
        V2Drop(HALF)(model, **data.options)


def test_a_wrapped_model_is_refused():
    for family in ("llama", "llava"):
        with pytest.raises(ValueError, match=r"compiled \(all of it\)"):
            V2Drop(HALF)(compiled(toy(family)))
    with pytest.raises(ValueError, match=r"compiled \(its model.vision_tower\)"):
        tower = FAMILIES["llava"]()
        tower.model.vision_tower = compiled(tower.model.vision_tower)
        V2Drop(HALF)(tower)


def test_other_wrappers_of_forward_are_none_of_it(model, data):
    add_hook_to_module(model, ModelHook())
    model.model.forward = torch.compiler.disable(model.model.forward)
    V2Drop(HALF)(model, **data.options)
    replace_forward(model.model.layers[1])
    add_hook_to_module(model.model.layers[1], ModelHook())  # it stands in front, and is looked through
    with pytest.raises(ValueError, match=r"compiled \(its model.layers.1\)"):
        V2Drop(HALF)(model, **data.options)


def test_a_wrapper_made_and_run_before_drops_all_the_same(model, data):
    """It leaves no mark on the model, and torch does not look for hooks that came after compilation."""
    wrapper = compiled(model)
    plain = wrapper(**data.inputs).logits[:, -1]
    with V2Drop(HALF)(model, **data.options) as trace:
        expected, lengths = model(**data.inputs).logits[:, -1], list(trace.lengths)
        trace.clear()
        assert torch.equal(wrapper(**data.inputs).logits[:, -1], expected)
        assert trace.lengths == lengths
    assert not torch.allclose(plain, expected, atol=1e-3)
    assert torch.equal(wrapper(**data.inputs).logits[:, -1], plain)


def test_compiled_code_is_compiled_again_after_the_last_with(model, data):
    twin = FAMILIES["llama"]().eval()
    compiling = []

    @compiled
    def probe(x):
        compiling.append(torch.compiler.is_compiling())
        return x + 1

    def is_compiled():
        torch.compiler.reset()
        compiling.clear()
        probe(torch.ones(2))
        return any(compiling)

    assert is_compiled()
    first, second = V2Drop(HALF)(model, **data.options), V2Drop(HALF)(twin, **data.options)
    first.__enter__()
    assert not is_compiled()
    second.__enter__()
    first.__exit__()
    assert not is_compiled()
    second.__exit__()
    assert is_compiled()


@pytest.mark.parametrize("way", ["layer's compile()", "layer's forward"])
def test_compiling_inside_the_with_changes_nothing(way, model, data):
    plain = model(**data.inputs).logits[:, -1]
    with V2Drop(HALF)(model, **data.options) as trace:
        expected, lengths = model(**data.inputs).logits[:, -1], list(trace.lengths)
        WAYS[way](model)
        trace.clear()
        assert torch.equal(model(**data.inputs).logits[:, -1], expected)
        assert trace.lengths == lengths
    assert torch.equal(model(**data.inputs).logits[:, -1], plain)
