"""A processor fits its model when it is loaded: old checkpoints' gaps are filled, what contradicts is refused."""

import json

import numpy
import pytest
import torch

from analysis import load
from tests.support import zoo
from tests.support.zoo_processors import PROCESSORS

PICTURE = numpy.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=numpy.uint8)
CLIP = ("llava", "llava_next", "llava_next_video", "video_llava")
GAPS = [
    *[(name, "patch_size") for name in CLIP[:3]],  # Video-LLaVA's has a default
    *[(name, "vision_feature_select_strategy") for name in CLIP],
    *[(name, "num_additional_image_tokens") for name in CLIP],
    *[("llava_onevision", gap) for gap in ("num_image_tokens", "vision_feature_select_strategy")],
]
WRONG = [
    ("llava", {"patch_size": 4}, "Image features and image tokens do not match"),
    ("llava", {"num_additional_image_tokens": 2}, "Image features and image tokens do not match"),
    ("llava_next", {"vision_feature_select_strategy": "full"}, "do not match"),
    ("llava_onevision", {"num_image_tokens": 9}, "do not match"),
    ("internvl", {"image_seq_length": 5}, "do not match"),
    ("smolvlm", {"image_seq_len": 5}, ""),
    ("gemma3", {"image_seq_length": 5}, "do not match"),
]


def saved(name, folder, change):
    zoo.model(name, "eager").save_pretrained(folder)
    processor = PROCESSORS[name]()
    processor.chat_template = zoo.template(name)
    processor.save_pretrained(folder)
    settings = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps(change(settings)))
    return folder


@pytest.mark.parametrize(("name", "gap"), GAPS)
def test_what_an_old_checkpoint_leaves_out_is_filled_in(name, gap, tmp_path):
    whole = load(saved(name, tmp_path, dict))
    wanted = whole.inputs([PICTURE], ["what"])
    old = load(saved(name, tmp_path, lambda settings: {key: x for key, x in settings.items() if key != gap}))
    assert getattr(old.processor, gap) == getattr(whole.processor, gap)
    inputs = old.inputs([PICTURE], ["what"])
    assert inputs.keys() == wanted.keys() and all(torch.equal(inputs[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(("name", "change", "said"), WRONG)
def test_a_processor_of_another_model_is_refused(name, change, said, tmp_path):
    with pytest.raises(ValueError, match=f"its processor does not fit its model: .*{said}.* Compare proc") as raised:
        load(saved(name, tmp_path, lambda settings: settings | change))
    assert "\n" not in str(raised.value) and raised.value.__suppress_context__


def test_the_trial_leaves_nothing_on_the_model(tmp_path):
    model = load(saved("llava", tmp_path, dict)).model
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_without_a_template_a_checkpoint_loads_to_be_given_one(tmp_path):
    saved("llava_next", tmp_path, dict)
    (tmp_path / "chat_template.jinja").unlink()
    loaded = load(tmp_path)
    with pytest.raises(ValueError, match="give it one: loaded.processor.chat_template"):
        loaded.inputs([PICTURE], ["what"])
    loaded.processor.chat_template = zoo.template("llava_next")
    assert loaded.vision_positions(loaded.inputs([PICTURE], ["what"]))[0]
