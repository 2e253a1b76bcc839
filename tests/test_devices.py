"""Layers on different devices: every operation is on tensors of one, and the results are those of one device."""

import copy

import pytest
import torch
from fitting import fitted, skip_unless_possible
from mustdropping import prompts
from pretending import TOWER, A, B, C, Devices, inputs, place, spread
from toys import IMAGE_ID, batch, toy

from v2drop import METHODS, DyCoke, FastV, MustDrop, Random, Schedule, SparseVLM, TransPrune

LAYERS = (B, C, B, C, A)


MORE = {
    "dycoke, second stage": DyCoke(Schedule({0: 1.0}), ratio=0.7, seen=0.5, deep=2),
    "mustdrop, caches cut": MustDrop(Schedule({1: 6, 3: 2})),
    "mustdrop, windows": MustDrop(Schedule({1: 6, 3: 2})),
    "mustdrop, late": MustDrop(Schedule({2: 1.0, 4: 3})),
    "random, at layer 0 too": Random(Schedule({0: 0.5, 2: 0.25, 4: 0.0})),
    "fastv, repacked": FastV(Schedule({2: 4}), official_cost=True),
    "transprune, thrice": TransPrune(Schedule({1: 9, 2: 5, 4: 2})),
    "sparsevlm, recycling": SparseVLM(Schedule({1: 8, 3: 3})),
}


@pytest.fixture(scope="module")
def models():
    devices = {f"model.language_model.layers.{i}": where for i, where in enumerate(LAYERS)}
    devices |= {"model.vision_tower.encoder.layers.2": C, "model.vision_tower.encoder.layers.3": B}
    devices |= {"model.vision_tower": TOWER, "model.multi_modal_projector": TOWER, "lm_head": C}
    alone = {name.replace("language_model.", ""): where for name, where in devices.items()}
    return {
        "llava": spread(copy.deepcopy(toy("llava")), devices),
        "llama": spread(copy.deepcopy(toy("llama")), alone),
    }


def test_mixing_is_refused_and_moving_is_not():
    with Devices():
        one, other = place(torch.ones(2), A), place(torch.ones(2), B)
        with pytest.raises(RuntimeError, match="add: tensors on"):
            one + other
        with pytest.raises(RuntimeError, match="tensors on"):
            one[torch.arange(2, device=B)]
        assert (one.to(B) + other).device == B and (one[:1] * 2).device == A
        assert torch.zeros_like(other).device == other.new_ones(3).device == B


@pytest.mark.parametrize("name", [*METHODS, *MORE])
@pytest.mark.parametrize("family", ["llava", "llama"])
def test_layers_on_several_devices_give_what_one_device_gives(family, name, models):
    if name in METHODS:
        skip_unless_possible(name, family)
    elif family != "llava":
        pytest.skip("the first of both is enough")
    data = batch("llava", ["titttt", "tiitt"]) if family == "llava" else batch("llama", ["tvvvvvvttt", "vvvvvvtt"])
    if "windows" in name:
        data = prompts(4, ["titttt", "titt"], [[0], []])
    method = MORE[name] if name in MORE else fitted(name, {1: 0.5, 3: 0.25})
    options = {"max_new_tokens": 4, "do_sample": False}
    options["suppress_tokens"] = [IMAGE_ID]
    with torch.no_grad(), method(toy(family), **data.options) as trace:
        expected, kept = toy(family)(**data.inputs).logits, trace.kept
        tokens = toy(family).generate(**data.inputs, **options)
    with torch.no_grad(), Devices(), method(models[family], **data.options) as trace:
        got, kept_there = models[family](**inputs(data)).logits, trace.kept
        made = models[family].generate(**inputs(data), **options)
    assert all(torch.equal(kept[layer], kept_there[layer]) for layer in kept)
    torch.testing.assert_close(got, expected, equal_nan=True)
    assert torch.equal(made, tokens)
