"""What a context manager or a measurement could leave behind on a model, and a check that no module runs."""

from contextlib import contextmanager
from copy import deepcopy

import torch

from v2drop.contract.toys import batch, toy


def footprint(model):
    """Everything a context manager could leave behind."""
    hooks = [
        len(getattr(module, name))
        for module in model.modules()
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_forward_pre_hooks_with_kwargs",
            "_backward_hooks",
        )
    ]
    attributes = [sorted(vars(module)) for module in model.modules()]
    return hooks, attributes, sorted(model.state_dict()), [name for name, _ in model.named_buffers()]


def used(family, operator="sdpa"):
    """A copy that has run: transformers leaves hooks of its own on first use."""
    model, data = deepcopy(toy(family, operator)), IMAGES if family == "llava" else TEXT
    model(**data.inputs)
    return model, data


def everything(model):
    """All that could differ afterwards: the footprint, the bits of the state, flags, and the attention operators."""
    state = {name: (value.clone(), value._version) for name, value in model.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    operators = [module.config._attn_implementation for module in model.modules() if hasattr(module, "config")]
    return footprint(model), flags, operators, model.training, state


def assert_unchanged(model, before):
    *after, state = everything(model)
    assert after == list(before[:-1])
    for name, (value, version) in before[-1].items():
        assert torch.equal(state[name][0], value) and state[name][1] == version, name


@contextmanager
def nothing_runs(model):
    """No module of the model may be called."""
    called = []
    handles = [
        module.register_forward_hook(lambda module, *_: called.append(type(module).__name__))
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    assert called == []


TEXT = batch("llama", ["tvvvvtt", "vvtvvvvvvt"])


IMAGES = batch("llava", ["titt", "tti"])
