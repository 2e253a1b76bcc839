"""What all methods before the language model must do with beams, odd rows, other models and the model they leave."""

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from tests.support.left_behind import footprint
from v2drop import METHODS, Schedule
from v2drop.contract.toys import FAMILIES, IMAGE_ID, TEXT, batch, toy

BEFORE = [name for name, method in METHODS.items() if method.before_llm]
EVERY = pytest.mark.parametrize("name", BEFORE)
IN_TOWER = [name for name in BEFORE if not METHODS[name].exact_count and not METHODS[name].needs_frames]


@EVERY
@pytest.mark.parametrize("left", [0.0, 0.1, 0.5])
def test_beams_get_their_own_rows_pictures(name, left):
    model, data = toy("llava"), batch("llava", ["tittt", "titit", "tttt", "titt"])
    options = {"max_new_tokens": 1, "do_sample": False, "output_scores": True, "return_dict_in_generate": True}
    with METHODS[name](Schedule({0: left}))(model):
        plain = model(**data.inputs).logits[:, -1].log_softmax(-1)
        beams = model.generate(**data.inputs, num_beams=2, **options).scores[0]
    torch.testing.assert_close(beams[::2], plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(beams[1::2], plain, atol=1e-5, rtol=1e-5)


@EVERY
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_placeholder_of_a_row_always_stays(name, side):
    """It is no candidate: the next token is read there."""
    model, data = toy("llava"), batch("llava", ["tti", "i", "titt"], side)
    method = METHODS[name](Schedule({0: 0.5}))
    with method(model) as trace:
        together = model(**data.inputs, position_ids=data.positions).logits
        counts = trace.vision_tokens[0]
        whole = [15, 15, 16]  # of a single picture, where frames are compared
        allowed = [[7 - a, 7 - b, 8] for a in (0, 1) for b in (0, 1)]
        assert counts in ([whole] if method.needs_frames else [[7, 7, 8]] if method.exact_count else allowed)
        for row, last in enumerate(data.last):
            there = data.present[row]
            picture = data.inputs["pixel_values"][row : row + 1]
            alone = model(input_ids=data.inputs["input_ids"][row : row + 1, there], pixel_values=picture).logits
            torch.testing.assert_close(together[row, last], alone[0, -1], atol=1e-5, rtol=1e-5)


@EVERY
def test_a_prompt_without_pictures_is_the_plain_model_also_after_one_with(name):
    model, data, text = toy("llava"), batch("llava", ["tit"]), batch("llava", ["tttt", "tt"])
    plain = model(**text.inputs).logits
    with METHODS[name](Schedule({0: 4 if name in IN_TOWER else 3}))(model) as trace:
        model(**data.inputs)
        assert torch.equal(model(**text.inputs).logits, plain)
        assert trace.kept == {} and set(map(tuple, trace.vision_tokens)) == {(0, 0)}


@EVERY
def test_features_of_another_run_are_refused_where_the_tower_is_read(name):
    model, data = toy("llava"), batch("llava", ["tiit", "it", "it"])
    if not METHODS[name].needs_tower:
        pytest.skip(f"{name} declares that it reads embeddings alone")
    features = model.get_image_features(data.inputs["pixel_values"])
    other = batch("llava", ["tit", "ti"], seed=1)  # half as many pictures, as if rows had been repeated
    with METHODS[name](Schedule({0: 0.5}))(model):
        for _ in range(2):
            with pytest.raises(ValueError, match="Pass pixel_values"):
                model(input_ids=data.inputs["input_ids"], mm_encoder_outputs={"image": features})
            model(**other.inputs)


@EVERY
def test_models_without_a_tower_are_refused(name):
    if not METHODS[name].needs_tower:
        pytest.skip(f"{name} declares that it reads embeddings alone")
    mask = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=f"{METHODS[name].__name__} reads the vision tower"):
        METHODS[name](Schedule({0: 4}))(toy("llama"), vision_mask=mask)


@EVERY
def test_later_layers_are_refused(name):
    with pytest.raises(ValueError, match=r"layer 0 alone.*got layers \(0, 2\)"):
        METHODS[name](Schedule({0: 0.5, 2: 0.25}))


@EVERY
def test_nothing_is_left_on_the_model_also_when_the_tower_breaks_off(name):
    model, data = toy("llava"), batch("llava", ["tit"])
    plain = model(**data.inputs).logits
    model.generate(**data.inputs, max_new_tokens=2)
    before = footprint(model)
    with METHODS[name](Schedule({0: 4}))(model):
        model.generate(**data.inputs, max_new_tokens=2, suppress_tokens=[IMAGE_ID])
        short = model(**data.inputs).logits

        def explode(*_):
            raise RuntimeError("Boom")

        handle = model.model.vision_tower.encoder.layers[1].mlp.register_forward_hook(explode)
        with pytest.raises(RuntimeError, match="Boom"):
            model(**data.inputs)
        handle.remove()
        assert torch.equal(model(**data.inputs).logits.nan_to_num(), short.nan_to_num())
    assert footprint(model) == before
    assert torch.equal(model(**data.inputs).logits, plain)


@pytest.mark.parametrize("name", IN_TOWER)
def test_a_count_for_a_row_of_several_pictures_is_refused(name):
    model, data = toy("llava"), batch("llava", ["titttt", "ittit"])
    method = METHODS[name]
    with method(Schedule({0: 8}))(model), pytest.raises(ValueError, match=r"2 pictures of row 1.*Schedule\(\{0: 0.25"):
        model(**data.inputs)
    for left in (0, 1000):  # no doubt about these
        with method(Schedule({0: left}))(model) as trace:
            model(**data.inputs)
        assert trace.vision_tokens[0] == [min(left, 16), min(left, 32)]


@pytest.mark.parametrize("left", [64, 128, 192, 208])
def test_budgets_of_the_papers_are_met_on_a_tower_of_the_real_grid(left):
    """24 x 24 patches, 24 blocks, of which 23 give the features, as in LLaVA-1.5; only the width is a toy's."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 24, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**sizes, image_size=336, patch_size=14)
    config = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=IMAGE_ID)
    model = LlavaForConditionalGeneration(config).eval().requires_grad_(False)
    ids = torch.tensor([[5, *[IMAGE_ID] * 576, 6, 7]])
    for name in [name for name in BEFORE if not METHODS[name].needs_frames]:
        with METHODS[name](Schedule({0: left}))(model) as trace:
            model(input_ids=ids, pixel_values=torch.randn(1, 3, 336, 336))
        assert trace.lengths == [left + 3] * len(trace.lengths), name
        if name == "tome":
            assert trace.scores[0].sum() == 576 and (trace.scores[0] > 0).sum() == left


def test_a_tower_whose_features_are_its_embeddings_is_refused():
    model = FAMILIES["llava"]()
    model.config.vision_feature_layer = 0
    with pytest.raises(ValueError, match="FasterVLM reads the vision tower"):
        METHODS["fastervlm"](Schedule({0: 4}))(model)
