"""analysis.load: what it says when something is wrong, before weights are read; its options; rows of any kind."""

import json
import shutil
from importlib.machinery import ModuleSpec

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from analysis import load
from analysis.models.checkpoints import checkpoint
from analysis.models.loading import EMBEDDED
from analysis.models.prompts import chat_prompts

CONFIG = json.loads((EMBEDDED / "config.json").read_text())
PROCESSOR = ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
CODE = {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}


def folder(path, config=None, copied=()):
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    for name in copied:
        shutil.copy(EMBEDDED / name, path)
    return path


@pytest.mark.parametrize(
    ("config", "copied", "said"),
    [
        (None, (), "Unrecognized model .* Give a folder"),
        ({"model_type": "strange"}, (), "model type `strange` .* Give a folder"),
        (CODE, (), "run code of its own repository, which this toolkit does not do"),
        ({"model_type": "qwen2"}, (), "its tokenizer cannot be made: .*tokenizer.json. Give a folder"),
        (
            {"model_type": "bert"},
            (),
            "type 'bert' is not supported; allowed: llava, .*paligemma, .*mistral\\. .*how to add a family",
        ),
        ({"model_type": "mllama"}, (), "MllamaForConditionalGeneration.*The README lists the families"),
        (CONFIG, (), "its processor cannot be made: .*Give a folder"),
        (CONFIG, PROCESSOR[1:3], "its processor cannot be made: .*preprocessor_config.json"),
        (CONFIG, PROCESSOR, "no file named model.safetensors.*Give a folder"),
    ],
    ids=["empty", "unknown", "remote code", "text", "no language", "cross", "no processor", "tokenizer", "no weights"],
)
def test_a_folder_that_lacks_something_is_refused_in_one_line(tmp_path, config, copied, said):
    with pytest.raises(ValueError, match=said) as raised:
        load(folder(tmp_path, config, copied))
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


def test_broken_weights_are_refused(tmp_path):
    folder(tmp_path, CONFIG, PROCESSOR)
    (tmp_path / "model.safetensors").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"cannot be loaded: .*header.* Give a folder"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["llava-hf/llava-1.5-7b-hff", "not an id", "a/b/c", "./nowhere"])
def test_a_name_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' cannot be loaded: .*hub id spelt as on its page.*log in") as raised:
        load(name)
    assert "\n" not in str(raised.value)


def test_no_code_of_a_repository_is_run_even_if_it_lies_there(tmp_path):
    (tmp_path / "configuration_own.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(ValueError, match="does not do"):
        load(folder(tmp_path, CODE))


def test_packages_that_a_processor_may_need_are_named(monkeypatch):
    def fails(*args, **kwargs):
        raise AttributeError("type object 'VIDEO_PROCESSOR_MAPPING' has no attribute '_extra_content'")

    monkeypatch.setattr(checkpoint.AutoProcessor, "from_pretrained", fails)
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: None if name == "num2words" else ModuleSpec(name, None))
    with pytest.raises(ValueError, match=r"Without num2words many processors cannot be made: .*'\.\[processors\]'"):
        load()


def test_rows_may_have_one_picture_several_or_none(embedded, asked):
    (image,), (question,) = asked
    pil = Image.fromarray(image)
    inputs = embedded.inputs([image, [pil, image], None, []], [question] * 4)
    assert [len(row) for row in embedded.vision_positions(inputs)] == [144, 288, 0, 0]
    assert torch.equal(inputs["pixel_values"][0], inputs["pixel_values"][1])
    alone = embedded.inputs([image], [question])
    assert torch.equal(inputs["input_ids"][0, -alone["input_ids"].shape[1] :], alone["input_ids"][0])
    assert "pixel_values" not in embedded.inputs(None, [question])


@pytest.mark.parametrize(
    ("images", "videos", "said"),
    [
        ([], None, "one entry a question, 2 of them; got 0"),
        (numpy.zeros((8, 8, 3), numpy.uint8), None, r"list with one entry a question, .*; got one ndarray"),
        ([["a.png"], None], None, "a picture must be .*; got str"),
        ([[Image.new("RGB", (8, 8)), None], None], None, "a picture must be .*; got NoneType"),
        ([numpy.zeros((0, 8, 3), numpy.uint8), None], None, r"a picture must be .*; got uint8 \[0, 8, 3\]"),
        (None, [[Image.new("RGB", (8, n)) for n in (8, 9)], None], "frames of a video must have one size"),
        (None, [None], r"one video \(or None\) a question, 2 of them; got 1"),
        (None, [numpy.zeros((2, 8, 8), numpy.uint8), None], r"a video must be uint8 .*; got uint8 \[2, 8, 8\]"),
        ([numpy.zeros((8, 8, 3)), None], None, r"a picture must be uint8 .*; got float64"),
        ([[numpy.zeros((2, 8, 8, 3), numpy.uint8)], None], None, r"a picture must be .*; got uint8 \[2, 8, 8, 3\]"),
        (None, [numpy.zeros((2, 8, 8, 3)), None], r"a video must be uint8 .*; got float64"),
        (None, [numpy.zeros((0, 8, 8, 3), numpy.uint8), None], "a video must be uint8"),
        (None, [[Image.new("RGB", (8, 8))], None], "llava takes no videos; give its frames as pictures of one row"),
    ],
)
def test_rows_that_do_not_fit_are_refused(embedded, images, videos, said):
    with pytest.raises(ValueError, match=said):
        embedded.inputs(images, ["what", "where"], videos)


def test_questions_are_a_list(embedded, asked):
    for questions in ("What?", []):
        with pytest.raises(ValueError, match="questions must be a list of strings, at least one; got"):
            embedded.inputs(None, questions)


def test_weights_that_are_not_there_are_not_made_up(tmp_path):
    shutil.copytree(EMBEDDED, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: x for name, x in weights.items() if "layers.3." not in name}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"cannot be loaded: \d+ of its weights are not in the checkpoint \(model\."):
        load(tmp_path)


def test_what_is_loaded_prints_shortly(embedded):
    assert "mosaic_llava" in repr(embedded) and len(repr(embedded)) < 200


def test_without_a_chat_template_the_documented_prompt_is_used(embedded, monkeypatch):
    monkeypatch.setattr(embedded.processor, "chat_template", None)
    assert chat_prompts.prompt(embedded.processor, "llava", "What?") == "USER: <image>\nWhat? ASSISTANT:"
    assert chat_prompts.prompt(embedded.processor, "llava", "What?", 2) == "USER: <image><image>\nWhat? ASSISTANT:"
    assert chat_prompts.prompt(embedded.processor, "llava", "What?", 0) == "USER: What? ASSISTANT:"
    assert chat_prompts.prompt(embedded.processor, "llava", "One of: \n{a}", 0) == "USER: One of: \n{a} ASSISTANT:"
    assert (
        chat_prompts.prompt(embedded.processor, "llava", "One of: \n{a}") == "USER: <image>\nOne of: \n{a} ASSISTANT:"
    )
    assert chat_prompts.prompt(embedded.processor, "paligemma", "caption en") == "<image>caption en"
    with pytest.raises(
        ValueError, match="llava_next has no chat template; give it one: loaded.processor.chat_template"
    ):
        chat_prompts.prompt(embedded.processor, "llava_next", "What?")


def test_a_template_that_begins_the_sequence_is_not_begun_twice(embedded, asked, monkeypatch):
    once = embedded.inputs(*asked)["input_ids"]
    monkeypatch.setattr(embedded.processor, "chat_template", "<s>" + embedded.processor.chat_template)
    assert torch.equal(embedded.inputs(*asked)["input_ids"], once)
