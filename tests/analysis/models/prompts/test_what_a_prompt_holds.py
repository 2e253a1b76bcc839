"""Pictures as cameras save them, and questions that hold a checkpoint's own placeholders."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from tests.analysis.models.prompts.test_pictures import PROCESSORS, asked

TURNED = 6  # the value of EXIF's orientation for a camera held upright: its viewers turn the picture by a quarter


def from_a_camera(picture, orientation):
    exif, file = PIL.Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(file, "png", exif=exif)
    return PIL.Image.open(file)


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_picture_is_seen_as_viewers_show_it(name):
    """PIL opens it as the sensor lay, and so the model saw it on its side."""
    loaded = asked(name)
    pixels = np.random.default_rng(0).integers(0, 255, (28, 56, 3), dtype=np.uint8)
    camera = from_a_camera(PIL.Image.fromarray(pixels), TURNED)
    upright = np.rot90(pixels, -1)
    found, expected = loaded.inputs([camera], ["what"]), loaded.inputs([upright], ["what"])
    for key, values in expected.items():
        assert torch.equal(found[key], values), key
    assert loaded.token_grids(camera) == loaded.token_grids(upright)


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_question_with_a_placeholder_is_refused(name):
    loaded = asked(name)
    words = [getattr(loaded.processor, key, None) for key in ("image_token", "video_token")]
    for word in filter(None, words):
        with pytest.raises(ValueError, match="a question must not hold .*, where this checkpoint puts pictures"):
            loaded.inputs([np.zeros((32, 32, 3), np.uint8)], [f"what is {word} here"])


def test_questions_have_an_order(embedded, without_type_checker):
    picture = np.zeros((96, 96, 3), np.uint8)
    for questions in ({"what", "where"}, {"what": 1, "where": 2}):
        with pytest.raises(ValueError, match="questions must be a list of strings"):
            embedded.inputs([picture, picture], questions)
    assert len(embedded.inputs([picture] * 2, (text for text in ("what", "where")))["input_ids"]) == 2


def test_the_grids_are_of_one_picture(embedded, without_type_checker):
    for wrong, said in (
        (None, "image must be one picture; got 0"),
        ([], "got 0"),
        ("a.png", "a picture must be uint8"),
    ):
        with pytest.raises(ValueError, match=said):
            embedded.token_grids(wrong)
