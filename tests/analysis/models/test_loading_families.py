"""Every family through analysis.load: saved, loaded, asked with pictures and videos in any mix, and generating."""

import copy
import re

import numpy
import pytest
import torch

from analysis import load
from analysis.models.loaded import Loaded
from tests.support import zoo
from tests.support.zoo_processors import PROCESSORS, words
from v2drop import Schedule, V2Drop
from v2drop.models.families import FAMILIES

DRAW = numpy.random.default_rng(0)
# Sizes differ, so that batches are ragged in tokens too.
SMALL, WIDE, TALL = (DRAW.integers(0, 256, (*size, 3), dtype=numpy.uint8) for size in ((16, 16), (24, 40), (48, 16)))
VIDEO = DRAW.integers(0, 256, (4, 24, 32, 3), dtype=numpy.uint8)
TEMPLATE = (
    "{{% for turn in messages %}}user:{{% for part in turn['content'] %}}{{% if part['type'] == 'image' %}}{image}"
    "{{% elif part['type'] == 'video' %}}{video}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    "{{% endfor %}}\n{{% endfor %}}answer:"
)
NO_BLANKS = ("paligemma", "paligemma2")  # a picture in every row
WITH_VIDEOS = [name for name in PROCESSORS if "video" in FAMILIES[zoo.VARIANTS.get(name, name)].inputs]


@pytest.fixture(scope="module", params=PROCESSORS)
def saved(request, tmp_path_factory):
    return request.param, loaded(request.param, tmp_path_factory)


def loaded(name, folders, made={}):  # noqa: B006
    if name not in made:
        folder = folders.mktemp(name)
        zoo.model(name, "eager").save_pretrained(folder)
        processor = PROCESSORS[name]()
        if not name.startswith("paligemma"):
            processor.chat_template = TEMPLATE.format(image=words(name)["i"], video=words(name)["v"])
        processor.save_pretrained(folder)
        made[name] = load(folder)
    return made[name]


def generates(asked, inputs):
    length, n = inputs["input_ids"].shape[1], len(inputs["input_ids"])
    positions = asked.vision_positions(inputs)
    with V2Drop(Schedule({1: 0.5}))(asked.model) as trace:
        out = asked.model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
    assert out.shape == (n, length + 2)
    for row, kept in zip(positions, trace.kept.get(1, [[]] * n), strict=True):
        assert {int(i) for i in kept if i >= 0} <= set(row)
    return positions


def test_pictures_in_any_mix(saved):
    name, asked = saved
    rows = [SMALL, [WIDE, TALL], [TALL]] + ([] if name in NO_BLANKS else [None, []])
    questions = ["what", "how many", "is there a very long question", "and", "no picture"][: len(rows)]
    inputs = asked.inputs(rows, questions)
    positions = generates(asked, inputs)
    assert [bool(row) for row in positions] == [row is not None and len(row) > 0 for row in rows]
    assert (inputs["attention_mask"][:, -1] == 1).all() and (inputs["attention_mask"][:, 0] == 0).any()
    for row, question, places in zip(rows, questions, positions, strict=True):
        alone = asked.inputs([row], [question])
        assert len(asked.vision_positions(alone)[0]) == len(places)


def test_without_any_picture(saved):
    name, asked = saved
    if name in NO_BLANKS:
        with pytest.raises(ValueError, match=r"at least one picture in every row; got \[0\]"):
            asked.inputs(None, ["what"])
        return
    assert generates(asked, asked.inputs(None, ["what", "is it"])) == [[], []]


def test_videos(saved):
    name, asked = saved
    if name not in WITH_VIDEOS:
        with pytest.raises(ValueError, match="takes no videos; give its frames as pictures"):
            asked.inputs(None, ["what"], [VIDEO])
        return
    positions = generates(asked, asked.inputs(None, ["what happens", "and"], [VIDEO, None]))
    assert positions[0] and not positions[1]
    shorter = asked.vision_positions(asked.inputs(None, ["what happens"], [VIDEO[:2]]))
    newline = name == "llava_onevision"  # one at the end of a video
    assert len(positions[0]) - newline == 2 * (len(shorter[0]) - newline)  # no frame is left out
    if name.startswith("qwen3"):  # four frames at two a second, seen in pairs
        said = asked.processor.tokenizer.decode(asked.inputs(None, ["what"], [VIDEO])["input_ids"][0])
        assert re.findall(r"<([\d.]+) seconds>", said) == ["0.2", "1.2"]


def test_videos_beside_pictures(saved):
    name, asked = saved
    if name not in WITH_VIDEOS:
        pytest.skip("takes no videos")
    if name == "smolvlm":
        with pytest.raises(ValueError, match="pictures or videos in one batch, not both"):
            asked.inputs([SMALL, None], ["what", "and"], [None, VIDEO])
        return
    inputs = asked.inputs([SMALL, None, [WIDE]], ["what", "and", "so"], [None, VIDEO, VIDEO])
    assert all(generates(asked, inputs))
    if name.startswith("qwen"):  # pictures first
        ids = inputs["input_ids"][2].tolist()
        assert ids.index(asked.model.config.image_token_id) < ids.index(asked.model.config.video_token_id)


def test_only_floats_change_type(saved):
    name, asked = saved
    half = Loaded(asked.name, copy.deepcopy(asked.model).to(torch.bfloat16), asked.processor)
    for key, value in half.inputs([SMALL], ["what"]).items():
        allowed = (torch.bfloat16,) if key.startswith("pixel_values") else (torch.long, torch.bool)
        assert key != "labels"  # nothing is to be learnt
        assert value.dtype in (allowed if key != "pixel_attention_mask" else (torch.bfloat16, *allowed)), key


def test_videos_of_several_lengths(saved):
    name, asked = saved
    if name not in WITH_VIDEOS:
        pytest.skip("takes no videos")
    if name.startswith("qwen"):
        positions = generates(asked, asked.inputs(None, ["what", "and"], [VIDEO, VIDEO[:2]]))
        assert len(positions[0]) == 2 * len(positions[1])
        return
    with pytest.raises(ValueError, match=r"videos of one length in one batch; got \[4, 2\] frames"):
        asked.inputs(None, ["what", "and"], [VIDEO, VIDEO[:2]])
