"""A model at another picture size is the same model, called as its tower allows it."""

import pytest
import torch

from analysis.models.loaded import Loaded
from analysis.scenes.mosaic import PICTURE_SIDES
from analysis.scenes.picture_size import at_side
from analysis.scenes.questions import sample
from tests.support import zoo


@pytest.mark.parametrize("side", PICTURE_SIDES)
def test_features_are_those_of_the_tower_with_interpolated_positions(embedded, side):
    (scene, question), *_ = sample(1, side=side)
    sized = at_side(embedded, side)
    inputs = sized.inputs([scene.image], [question.text])
    assert inputs["pixel_values"].shape[-2:] == (side, side)
    assert len(sized.vision_positions(inputs)[0]) == (side // 8) ** 2 == sized.token_grids(scene.image)[0].n_tokens
    seen = sized.model.model.get_image_features(inputs["pixel_values"]).pooler_output[0]
    there = embedded.model.model.get_image_features(inputs["pixel_values"], interpolate_pos_encoding=True)
    torch.testing.assert_close(seen, there.pooler_output[0])


def test_the_given_model_stays_as_it_is_and_shares_its_weights(embedded):
    before = embedded.model.config.to_dict()
    sized = at_side(embedded, 72)
    assert embedded.model.config.to_dict() == before and at_side(embedded, 96) is embedded
    assert sized.model.lm_head.weight is embedded.model.lm_head.weight
    (scene, question), *_ = sample(1)
    assert embedded.inputs([scene.image], [question.text])["pixel_values"].shape[-1] == 96


def test_wrong_sizes_and_models_are_refused(embedded, without_type_checker):
    for wrong in (100, 0, 72.0, True):
        with pytest.raises(ValueError, match="side must be"):
            at_side(embedded, wrong)
    with pytest.raises(ValueError, match="only a LLaVA with a CLIP tower .*; got 'qwen2_vl'"):
        at_side(Loaded("qwen2_vl", zoo.model("qwen2_vl"), zoo.processor("qwen2_vl")), 96)
    with pytest.raises(ValueError, match="loaded must be a model with its processor"):
        at_side(embedded.model, 72)
