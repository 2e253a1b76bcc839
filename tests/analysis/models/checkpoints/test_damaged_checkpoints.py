"""Weights that are damaged, or not those of their configuration, are refused in one line before anything is asked."""

import json
import pickle
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis import load
from analysis.models.checkpoints import load_options
from analysis.models.loading import EMBEDDED

LAYER = "layers.3.mlp.up_proj.weight"  # files of several versions put other names before it


@pytest.fixture
def checkpoint(tmp_path):
    shutil.copytree(EMBEDDED, tmp_path / "model")
    return tmp_path / "model"


def configured(folder, part=None, **changes):
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def weighted(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def refused(folder, said):
    with pytest.raises(ValueError, match=f"cannot be loaded: {said}") as raised:
        load(folder)
    text = str(raised.value)
    assert str(folder) in text and "\n" not in text and raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None  # no traceback of others
    return text


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("text_config", {"num_hidden_layers": 6}, r"54 of its weights have no place .* \(.*layers.10\."),
        ("text_config", {"num_hidden_layers": 14}, r"\d+ of its weights are not in the checkpoint \(.*layers\.12\."),
        ("text_config", {"num_hidden_layers": 0}, "its configuration describes a decoder without layers"),
        ("text_config", {"num_hidden_layers": -1}, "its configuration describes a decoder without layers"),
        ("vision_config", {"num_hidden_layers": 2}, r"\d+ of its weights have no place .*vision_tower"),
        ("text_config", {"intermediate_size": 64}, r"36 of its weights have another shape .*: \[128, 256\] instead of"),
        ("text_config", {"vocab_size": 20}, "2 of its weights have another shape"),
        ("text_config", {"num_attention_heads": 0}, "ZeroDivisionError"),
        ("text_config", {"hidden_size": "128"}, ".*'hidden_size' expected int, got str"),
        ("text_config", {"hidden_size": 0}, ""),
        ("text_config", {"hidden_size": None}, ""),
        ("text_config", {"num_hidden_layers": 1.5}, ""),
        ("vision_config", {"patch_size": 0}, "no model can be made of its configuration: "),
        (None, {"text_config": 7}, ""),
        (None, {"image_token_index": 9}, r"its processor .* no placeholder of the model \(token 9\)"),
        (None, {"vision_feature_layer": 99}, "its processor does not fit its model: "),
    ],
)
def test_a_configuration_that_is_not_that_of_the_weights_is_refused(checkpoint, part, change, said):
    refused(configured(checkpoint, part, **change), said)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_refused(checkpoint, value, dtype):
    def damage(weights):
        weights.update({name: weight.to(dtype) for name, weight in weights.items()})
        next(weight for name, weight in weights.items() if name.endswith(LAYER))[5, 7] = value

    refused(weighted(checkpoint, damage), f"its weight .*{LAYER} holds NaN or infinity")


def test_weights_without_a_place_are_refused_unless_old_versions_left_them(checkpoint):
    left = {"model.vision_tower.vision_model.embeddings.position_ids": torch.arange(145)[None]}
    left["model.language_model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(16)
    load(weighted(checkpoint, lambda weights: weights.update(left)))
    lora = {"model.language_model.layers.3.mlp.up_proj.lora_A.weight": torch.ones(4, 128)}
    refused(weighted(checkpoint, lambda weights: weights.update(lora)), r"1 of its weights have no place .*lora_A")


class Runs:
    def __reduce__(self):
        return print, ("code of the checkpoint has run",)


@pytest.mark.parametrize("content", [pickle.dumps(Runs()), b"", b"half a download"], ids=["code", "empty", "broken"])
def test_a_pickle_is_not_run_and_nobody_is_told_to(checkpoint, content, capfd):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(content)
    assert "weights_only" not in refused(checkpoint, "")
    assert "has run" not in capfd.readouterr().out


def test_a_pickle_with_code_among_tensors_is_not_run(checkpoint, capfd):
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    load(checkpoint)  # tensors alone are as good as safetensors
    torch.save({"x": Runs()}, checkpoint / "pytorch_model.bin")
    assert "weights_only" not in refused(checkpoint, "its weights are a pickle that holds more than tensors")
    assert "has run" not in capfd.readouterr().out


@pytest.mark.parametrize("name", ["", " ", 0, 5, True, False, b"x", ["a"]], ids=repr)
def test_a_name_is_a_name(name, without_type_checker, monkeypatch):
    with pytest.raises(ValueError, match="name_or_path must be a folder or a hub id; got .*load\\(\\) without V2DROP_"):
        load(name)
    if isinstance(name, str):
        monkeypatch.setenv("V2DROP_MODEL", name)
        with pytest.raises(ValueError, match=f"V2DROP_MODEL must be a folder or a hub id; got '{name}'"):
            load()


LONG = "x" * 5000


@pytest.mark.parametrize("name", [LONG, f"./{LONG}", f"org/{LONG[:300]}", "a\0b"], ids=["name", "folder", "id", "null"])
def test_a_name_that_no_file_system_takes_is_refused(name):
    with pytest.raises(ValueError, match="cannot be loaded: ") as raised:
        load(name)
    assert "\n" not in str(raised.value)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch, tmp_path):
    asked = []

    def no_route(url, timeout):
        asked.append(url)
        raise ConnectionError("no route")

    monkeypatch.setattr(load_options.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(load_options, "get_hf_file_metadata", no_route)
    start = time.monotonic()
    with pytest.raises(ValueError, match="'llava-hf/llava-1.5-7b-hf' cannot be loaded: .*Give a folder") as raised:
        load("llava-hf/llava-1.5-7b-hf")
    assert time.monotonic() - start < 5 and len(asked) == 1 and raised.value.__suppress_context__
    assert not load_options.only_local_files(str(EMBEDDED)) and len(asked) == 1  # a folder is nobody's to ask for


def test_a_hub_that_answers_with_a_refusal_has_answered(monkeypatch):
    def refuses(url, timeout):
        raise load_options.HFValidationError("no such id")

    monkeypatch.setattr(load_options.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(load_options, "get_hf_file_metadata", refuses)
    assert not load_options.only_local_files("org/name")
