"""Pictures and videos of any height and width reach the model as they are, whatever the family's processor guesses."""

import numpy
import pytest
import torch
from PIL import Image

from analysis.models.loaded import Loaded
from tests.support import zoo
from tests.support.zoo_processors import PROCESSORS

COLOUR = (250, 120, 10)
WITH_VIDEOS = [name for name in PROCESSORS if hasattr(PROCESSORS[name](), "video_processor")]


def asked(name):
    processor = PROCESSORS[name]()
    if not name.startswith("paligemma"):
        processor.chat_template = zoo.template(name)
    return Loaded(name, zoo.model(name, "eager"), processor)


def channels(values, made_by):
    """The distinct values of each channel, in units of 0 to 255, of pixel values [..., 3, height, width] or patches."""
    if values.ndim == 2:  # Qwen's: a row is a patch, in channels, frames, height and width
        values = values.reshape(len(values), 3, -1, 1)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (made_by.image_mean, made_by.image_std))
    values = (values * std + mean) * 255
    return values.movedim(-3, 0).flatten(1).round().unique(dim=1).T.tolist()


@pytest.mark.parametrize("size", [(1, 40), (3, 40), (4, 40), (40, 1), (40, 3), (3, 3), (1, 3), (4, 4)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_a_picture_of_one_colour_keeps_it_whatever_its_shape(name, size):
    loaded = asked(name)
    picture = numpy.broadcast_to(numpy.uint8(COLOUR), (*size, 3))
    inputs = loaded.inputs([picture], ["what"])
    key = "pixel_values_images" if name == "video_llava" else "pixel_values"
    found = channels(inputs[key], loaded.processor.image_processor)
    blank = [0.0] * 3  # padding of tiles and to squares
    assert list(map(float, COLOUR)) in found and all(row in (list(map(float, COLOUR)), blank) for row in found)
    assert torch.equal(inputs[key], loaded.inputs([Image.fromarray(picture)], ["what"])[key])


@pytest.mark.parametrize("size", [(1, 40), (3, 40), (40, 3), (3, 3), (24, 32)])
@pytest.mark.parametrize("name", WITH_VIDEOS)
def test_a_video_of_one_colour_keeps_it_whatever_its_shape(name, size):
    loaded = asked(name)
    video = numpy.broadcast_to(numpy.uint8(COLOUR), (4, *size, 3))
    inputs = loaded.inputs(None, ["what"], [video])
    key = "pixel_values" if name in ("internvl", "smolvlm") else "pixel_values_videos"
    found = channels(inputs[key], loaded.processor.video_processor)
    blank = [0.0] * 3
    assert list(map(float, COLOUR)) in found and all(row in (list(map(float, COLOUR)), blank) for row in found)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_a_picture_that_would_be_clipped_to_white_is_refused(mode):
    with pytest.raises(ValueError, match=f"a PIL image of 8 bits a channel; got one of mode '{mode}'"):
        asked("llava").inputs([Image.new(mode, (8, 8))], ["what"])


NO_TEXTS = [[None], [float("nan")], ["what", 7], numpy.array([1, 2]), 5, {}, b"what"]


@pytest.mark.parametrize("questions", NO_TEXTS, ids=repr)
def test_questions_that_are_no_texts_are_refused(questions, without_type_checker):
    with pytest.raises(ValueError, match="questions must be a list of strings, at least one; got"):
        asked("llava").inputs(None, questions)


@pytest.mark.parametrize(
    ("videos", "said"),
    [
        (5, "videos must be a list with one entry .* a question; got one int"),
        (numpy.zeros((1, 4, 8, 8, 3), numpy.uint8), "videos must be a list with one entry .*; got one ndarray"),
        ([5], "a video must be uint8"),
        ([numpy.zeros((2, 0, 8, 3), numpy.uint8)], "a video must be uint8"),
    ],
)
def test_videos_that_are_none_are_refused(videos, said, without_type_checker):
    with pytest.raises(ValueError, match=said):
        asked("qwen2_vl").inputs(None, ["what"], videos)


@pytest.mark.parametrize("n", [1.5, 0, -1, True, "8", None, float("nan")])
def test_the_longest_reply_is_an_int(embedded, n, without_type_checker):
    with pytest.raises(ValueError, match="max_new_tokens must be an int of 1 or more; got"):
        embedded.reply(numpy.zeros((96, 96, 3), numpy.uint8), "what digit is red", n)
