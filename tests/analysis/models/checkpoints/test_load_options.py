"""Options of analysis.load: dtypes, attention operators, places of layers."""

import numpy
import pytest
import torch
from transformers import logging

from analysis import load
from analysis.models.checkpoints import load_options
from analysis.models.loading import EMBEDDED
from v2drop import Schedule, V2Drop


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, "int8", "half", "is_tensor"])
def test_a_wrong_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype must be 'auto', 'float32', .* or such a torch dtype; got"):
        load(dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", "torch.bfloat16"])
def test_the_dtype_is_the_weights_and_the_pictures(dtype, asked):
    loaded = load(EMBEDDED, dtype=dtype)
    inputs = loaded.inputs(*asked)
    assert loaded.model.dtype == inputs["pixel_values"].dtype == torch.bfloat16
    assert inputs["input_ids"].dtype == torch.long


def test_auto_is_the_checkpoints_own(tmp_path):
    loaded = load(EMBEDDED)
    loaded.model.to(torch.float16).save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    assert load(tmp_path, dtype="auto").model.dtype == torch.float16


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "flash_attention_4", "sdap", "org/kernel"])
def test_an_operator_that_is_not_here_is_refused(name, monkeypatch):
    monkeypatch.setattr(load_options, "NEEDS", {known: lambda: False for known in load_options.NEEDS})
    why = "not installed" if name.startswith("flash") else "no operator of this name"
    with pytest.raises(ValueError, match=f"must be one of eager, sdpa.*; got '{name}': {why}"):
        load(attn_implementation=name)


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_the_operator_is_the_one_asked_for(name):
    assert load(EMBEDDED, attn_implementation=name).model.config.text_config._attn_implementation == name
    parts = load(EMBEDDED, attn_implementation={"text_config": name, "vision_config": "eager"}).model.config
    assert parts.text_config._attn_implementation == name and parts.vision_config._attn_implementation == "eager"
    with pytest.raises(ValueError, match="got 'sdap': no operator of this name"):
        load(EMBEDDED, attn_implementation={"text_config": "sdap"})
    with pytest.raises(ValueError, match="text_config, vision_config; got 'vison_config'"):
        load(EMBEDDED, attn_implementation={"vison_config": "eager"})


def test_a_model_is_frozen_and_what_transformers_says_is_as_before(monkeypatch):
    monkeypatch.setenv("HOME", str(EMBEDDED.parent))
    before = logging.get_verbosity()
    model = load(f"~/{EMBEDDED.name}").model
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    logging.set_verbosity_debug()
    try:
        load(EMBEDDED)
        assert logging.get_verbosity() == logging.DEBUG
    finally:
        logging.set_verbosity(before)


def test_a_device_map_needs_accelerate(monkeypatch):
    monkeypatch.setattr(load_options, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"device_map='auto' needs accelerate.*pip install '\.\[big\]'"):
        load(device_map="auto")


def test_a_wrong_device_map_is_refused():
    with pytest.raises(ValueError, match=r"device_map must be 'auto', .*; got 'everywhere'"):
        load(device_map="everywhere")


@pytest.mark.parametrize("device_map", ["cuda:9", 9, {"": "gpu"}, {"": "cuda:9"}], ids=str)
def test_a_device_that_is_not_here_is_refused(device_map):
    with pytest.raises(ValueError, match="a device of this machine, .*; got"):
        load(device_map=device_map)


def test_layers_on_disk_change_nothing(embedded, asked):
    where = {"model.vision_tower": "cpu", "model.multi_modal_projector": "cpu", "lm_head": "cpu"}
    spread = load(EMBEDDED, device_map=where | {"model.language_model": "disk"})
    assert spread.model.model.language_model.layers[0].mlp.up_proj.weight.device.type == "meta"
    replies, kept = [], []
    for loaded in (embedded, spread):
        with V2Drop(Schedule({2: 40}))(loaded.model) as trace:
            replies.append(loaded.reply(asked[0][0], asked[1][0]))
        kept.append(trace.kept[2])
    assert replies[0] == replies[1] and torch.equal(*kept)


def test_a_model_on_disk_is_asked_from_the_cpu(embedded, asked):
    spread = load(EMBEDDED, device_map={"model": "disk", "lm_head": "cpu"})
    assert spread.model.device.type == "meta" and spread.inputs(*asked)["input_ids"].device.type == "cpu"
    assert spread.reply(asked[0][0], asked[1][0]) == embedded.reply(asked[0][0], asked[1][0])


@pytest.mark.parametrize("device_map", [{}, "meta", {"": "meta"}, {"": None}, [], -1, 1.5, ""], ids=repr)
def test_a_place_for_no_weights_is_refused(device_map):
    with pytest.raises(ValueError, match=r"device_map must be 'auto', .*; got"):
        load(EMBEDDED, device_map=device_map)


@pytest.mark.parametrize("name", ["nope", "language_model", 1], ids=repr)
def test_a_device_map_names_modules_of_the_model(name):
    with pytest.raises(ValueError, match="device_map must name modules of the model, such as 'lm_head', .*; got"):
        load(EMBEDDED, device_map={"model": "cpu", "lm_head": "cpu", name: "cpu"})


@pytest.mark.parametrize("operator", [[], {"text_config": {}}, {"text_config": None}, 5, True, ""], ids=repr)
def test_an_operator_is_a_name(operator, without_type_checker):
    with pytest.raises(ValueError, match=r"attn_implementation must be one of eager, sdpa.*; got"):
        load(EMBEDDED, attn_implementation=operator)


@pytest.mark.parametrize("dtype", [[], {}, True, 0, "", numpy.zeros(3), numpy.float32], ids=repr)
def test_what_is_no_dtype_is_refused(dtype, without_type_checker):
    with pytest.raises(ValueError, match=r"dtype must be 'auto', 'float32', .*; got"):
        load(EMBEDDED, dtype=dtype)


@pytest.mark.parametrize("inputs", [None, {}, {"input_ids": [1, 2]}, {"input_ids": torch.zeros(3)}, 5], ids=repr)
def test_positions_are_those_of_a_batch(embedded, inputs, without_type_checker):
    with pytest.raises(ValueError, match=r"inputs must be what Loaded.inputs gives, with input_ids \[batch, length\]"):
        embedded.vision_positions(inputs)
