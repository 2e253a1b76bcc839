"""Layers on different devices: every operation is on tensors of one, and the results are those of one device."""

import copy
from functools import cache

import pytest
import torch

from tests.support import zoo
from tests.support.fitted_methods import fitted, skip_unless_possible
from tests.support.mustdrop_reference import prompts
from tests.support.pretended_devices import TOWER, A, B, C, Devices, inputs, place, spread
from v2drop import METHODS, DyCoke, FastV, MustDrop, Random, Schedule, SparseVLM, TransPrune
from v2drop.contract.toys import batch, toy
from v2drop.models.families import FAMILIES

LAYERS = (B, C, B, C, A)  # before each drop layer is one on another device
LATE = Schedule({1: 0.5, 3: 0.25})
MORE = {
    "dycoke, second stage": DyCoke(Schedule({0: 1.0}), pruned_share=0.7, visible_share=0.5, hide_from_layer=2),
    "mustdrop, caches cut": MustDrop(Schedule({1: 6, 3: 2})),
    "mustdrop, windows": MustDrop(Schedule({1: 6, 3: 2})),
    "mustdrop, late": MustDrop(Schedule({2: 1.0, 4: 3})),
    "random, at layer 0 too": Random(Schedule({0: 0.5, 2: 0.25, 4: 0.0})),
    "fastv, repacked": FastV(Schedule({2: 4}), full_attention_map=True),
    "transprune, thrice": TransPrune(Schedule({1: 9, 2: 5, 4: 2})),
    "sparsevlm, recycling": SparseVLM(Schedule({1: 8, 3: 3})),
}
# Deepstack, a tower with windows of its own, windows and pictures seen both ways, windows.
FAR = ["qwen3_vl", "qwen2_5_vl", "gemma3", "qwen2_window"]


@cache
def apart(model):
    """A copy whose decoder layers, tower and head are on different devices."""
    family = FAMILIES[model.config.model_type]
    devices = {
        f"{family.decoder}.layers.{i}": LAYERS[i % 5] for i in range(model.config.get_text_config().num_hidden_layers)
    }
    if family.vision_tower:
        devices |= {f"{family.vision_tower}.encoder.layers.2": C, f"{family.vision_tower}.encoder.layers.4": B}
    if family.vlm_module:
        children = (f"model.{name}" for name, _ in model.model.named_children())
        devices |= {name: TOWER for name in children if name != family.decoder}
    devices |= {"lm_head": C, f"{family.decoder}.embed_tokens": C, f"{family.decoder}.rotary_emb": A}
    return spread(copy.deepcopy(model), devices)


def check(model, method, data):
    """Kept tokens, logits and generation are those of the model on one device."""
    ids = [getattr(model.config, name, None) for name in ("image_token_id", "video_token_id")]
    options = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [i for i in ids if i is not None] or None}
    with method(model, **data.options) as trace:
        expected, kept = model(**data.inputs).logits, trace.kept
        tokens = model.generate(**data.inputs, **options)
    with Devices(), method(apart(model), **data.options) as trace:
        got, kept_there = apart(model)(**inputs(data)).logits, trace.kept
        made = apart(model).generate(**inputs(data), **options)
    assert sorted(kept) == sorted(kept_there) and all(torch.equal(kept[layer], kept_there[layer]) for layer in kept)
    torch.testing.assert_close(got, expected, equal_nan=True, atol=1e-5, rtol=1e-5)
    assert torch.equal(made, tokens)


def test_mixing_is_refused_and_moving_is_not():
    with Devices():
        one, other = place(torch.ones(2), A), place(torch.ones(2), B)
        with pytest.raises(RuntimeError, match="add: tensors on"):
            one + other
        with pytest.raises(RuntimeError, match="tensors on"):
            one[torch.arange(2, device=B)]
        assert (one.to(B) + other).device == B and (one[:1] * 2).device == A
        assert torch.zeros_like(other).device == other.new_ones(3).device == one[torch.arange(1)].to(other).device == B


@pytest.mark.parametrize("name", [*METHODS, *MORE])
def test_layers_on_several_devices_give_what_one_device_gives(name):
    data = prompts(4, ["titttt", "titt"], [[0], []]) if "windows" in name else batch("llava", ["titttt", "tiitt"])
    check(toy("llava"), MORE[name] if name in MORE else fitted(name, LATE.left), data)


@pytest.mark.parametrize("name", ["v2drop", "pdrop", "sparsevlm", "dart", "transprune", "divprune", "random"])
def test_layers_of_a_text_model_on_several_devices(name):
    skip_unless_possible(name, "llama")
    check(toy("llama"), fitted(name, LATE.left), batch("llama", ["tvvvvvvttt", "vvvvvvtt"]))


@pytest.mark.parametrize("name", ["v2drop", "fastv", "random"])
@pytest.mark.parametrize("family", FAR)
def test_families_on_several_devices(family, name):
    rows = ["tvvvvvvvvvvvvtt", "tvvvvvvvtt"] if family in zoo.TEXT_ONLY else ["tittt", "titt"]
    method = METHODS[name](Schedule({0: 0.6, 2: 0.25}) if name == "random" else LATE)
    check(zoo.model(family), method, zoo.prompt(family, rows))
