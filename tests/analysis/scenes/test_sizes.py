"""Scenes are enlarged until a model has enough tokens to drop; what they show and where stays."""

from types import SimpleNamespace

import numpy as np
import pytest

from analysis.models.loaded import Loaded
from analysis.scenes.mosaic import PICTURE_SIDES
from analysis.scenes.picture_size import at_side
from analysis.scenes.questions import sample
from analysis.scenes.sizes import LARGEST, STEP, enlarged, with_enough_tokens
from tests.support import zoo


def with_processor(name):
    return Loaded(name, zoo.model(name), zoo.processor(name))


def test_scenes_with_a_token_a_patch_stay_as_they_are(embedded):
    asked = sample(3)
    assert with_enough_tokens(embedded, asked) == asked and with_enough_tokens(embedded, []) == []


@pytest.mark.parametrize("side", PICTURE_SIDES)
def test_scenes_of_any_size_stay_as_they_are_on_a_model_for_that_size(embedded, side):
    asked = sample(2, side=side)
    assert with_enough_tokens(at_side(embedded, side), asked) == asked


@pytest.mark.parametrize("most", [36 * 256, 200 * 256])
def test_pictures_grow_until_there_are_enough_tokens_or_no_more(most):
    """Qwen2-VL: 16 x 16 pixels a token here, 28 x 28 in checkpoints, and a limit to the pixels of a picture."""
    loaded, asked = with_processor("qwen2_vl"), sample(2)
    images = loaded.processor.image_processor
    before, images.size = images.size, {"shortest_edge": 32 * 32, "longest_edge": most}
    try:
        grown = with_enough_tokens(loaded, asked)
        numbers = {
            side: loaded.token_grids(enlarged(asked[0][0], side).image)[0].n_tokens
            for side in range(96, LARGEST + 1, STEP)
        }
    finally:
        images.size = before
    side = len(grown[0][0].image)
    assert numbers[96] == 36 and numbers[side] == min(144, max(numbers.values()))
    assert all(number < numbers[side] for other, number in numbers.items() if other < side)
    assert [(q, s.digits) for s, q in grown] == [(q, s.digits) for s, q in asked]


def test_only_scenes_grow(embedded, without_type_checker):
    scene, question = sample(1)[0]
    with pytest.raises(ValueError, match=r"questions must be about scenes, as sample\(3\).*; number 1 is not"):
        with_enough_tokens(embedded, [(scene, question), (SimpleNamespace(image=scene.image), question)])
    with pytest.raises(ValueError, match="loaded must be a model with its processor"):
        with_enough_tokens(embedded.model, [(scene, question)])


def test_an_enlarged_picture_is_the_same_picture():
    (scene, _), *_ = sample(1)
    large = enlarged(scene, 192).image.astype(float)
    back = large.reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert large.shape == (192, 192, 3) and np.corrcoef(back.ravel(), scene.image.ravel())[0, 1] > 0.99
    assert enlarged(scene, 96) is scene
