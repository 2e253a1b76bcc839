"""analysis.load: what it says when something is wrong, before weights are read; its options; rows of any kind."""

import json
import shutil
from importlib.machinery import ModuleSpec

import numpy
import pytest
import torch
from PIL import Image

from analysis import asking, checkpoint, load, load_options
from analysis.loading import EMBEDDED
from analysis.mosaic import sample
from v2drop import Schedule, V2Drop

CONFIG = json.loads((EMBEDDED / "config.json").read_text())
PROCESSOR = ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
CODE = {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}


@pytest.fixture(scope="module")
def embedded():
    return load(EMBEDDED)


@pytest.fixture
def asked():
    scene, question = sample(1)[0]
    return [scene.image], [question.text]


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
        ({"model_type": "qwen2"}, (), r"text model \(qwen2\).*AutoModelForCausalLM; method\(model, vision_mask=mask\)"),
        ({"model_type": "bert"}, (), "BertConfig.*The README lists the families"),
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
    load(EMBEDDED).model.to(torch.float16).save_pretrained(tmp_path)
    assert load(folder(tmp_path, None, PROCESSOR), dtype="auto").model.dtype == torch.float16


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "flash_attention_4", "sdap", "org/kernel"])
def test_an_operator_that_is_not_here_is_refused(name, monkeypatch):
    monkeypatch.setattr(load_options, "NEEDS", {known: lambda: False for known in load_options.NEEDS})
    why = "not installed" if name.startswith("flash") else "no operator of this name"
    with pytest.raises(ValueError, match=f"must be one of eager, sdpa.*; got '{name}': {why}"):
        load(attn_implementation=name)


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_the_operator_is_the_one_asked_for(name):
    assert load(EMBEDDED, attn_implementation=name).model.config.text_config._attn_implementation == name


def test_a_device_map_needs_accelerate(monkeypatch):
    monkeypatch.setattr(load_options, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"device_map='auto' needs accelerate.*pip install '\.\[big\]'"):
        load(device_map="auto")


def test_a_wrong_device_map_is_refused():
    with pytest.raises(ValueError, match=r"device_map must be 'auto', .*; got 'everywhere'"):
        load(device_map="everywhere")


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


def test_without_a_chat_template_the_documented_prompt_is_used(embedded, monkeypatch):
    monkeypatch.setattr(embedded.processor, "chat_template", None)
    assert asking.prompt(embedded.processor, "llava", "What?") == "USER: <image>\nWhat? ASSISTANT:"
    assert asking.prompt(embedded.processor, "llava", "What?", 2) == "USER: <image><image>\nWhat? ASSISTANT:"
    assert asking.prompt(embedded.processor, "llava", "What?", 0) == "USER: What? ASSISTANT:"
    assert asking.prompt(embedded.processor, "llava", "One of: \n{a}", 0) == "USER: One of: \n{a} ASSISTANT:"
    assert asking.prompt(embedded.processor, "llava", "One of: \n{a}") == "USER: <image>\nOne of: \n{a} ASSISTANT:"
    assert asking.prompt(embedded.processor, "paligemma", "caption en") == "<image>caption en"
    with pytest.raises(
        ValueError, match="llava_next has no chat template; give it one: loaded.processor.chat_template"
    ):
        asking.prompt(embedded.processor, "llava_next", "What?")


def test_a_template_that_begins_the_sequence_is_not_begun_twice(embedded, asked, monkeypatch):
    once = embedded.inputs(*asked)["input_ids"]
    monkeypatch.setattr(embedded.processor, "chat_template", "<s>" + embedded.processor.chat_template)
    assert torch.equal(embedded.inputs(*asked)["input_ids"], once)
