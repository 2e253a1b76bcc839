"""MustDrop's caches, cut after the last drop, and batches whose pictures have different numbers of tokens."""

import pytest
import torch
from transformers import DynamicCache, LlavaConfig, LlavaForConditionalGeneration, MistralConfig

from tests.support import zoo, zoo_models
from tests.support.mustdrop_reference import prompts, sighted
from v2drop import METHODS, Schedule
from v2drop.contract.oracle import run_with_cache
from v2drop.contract.toys import IMAGE_ID, batch, toy
from v2drop.hooks.window_merging import WindowMergingHooks

MustDrop = METHODS["mustdrop"]
RANKED, LATE = MustDrop(Schedule({1: 6, 3: 2})), MustDrop(Schedule({2: 1.0, 4: 3}))
LOUD = MustDrop(Schedule({1: 1.0, 2: 1.0, 4: 1.0}), thresholds=(0.1, 0.08))


def alone(data, row, image, n_images):
    """One row without padding."""
    inputs = {key: data.inputs[key][row : row + 1, data.present[row]] for key in ("input_ids", "attention_mask")}
    return inputs | ({"pixel_values": data.inputs["pixel_values"][image : image + n_images]} if n_images else {})


@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("method", [RANKED, LATE, LOUD], ids=["ranked", "late", "thresholds"])
def test_a_batch_is_its_rows_alone_before_and_after_the_prompt(method, pad, operator):
    rows, alike = ["titttt", "tititt", "ttt", "iti", "tit"], [[0], [], [0], [0], [], []]
    model, data = sighted(4, operator), prompts(4, rows, alike, pad=pad)
    tokens, image = torch.randint(4, 64, (len(rows), 3)), 0
    with method(model) as trace:
        together = run_with_cache(model, data, tokens)
    for row, pattern in enumerate(rows):
        own = prompts(4, [pattern], [])
        own.inputs = alone(data, row, image, pattern.count("i"))
        image += pattern.count("i")
        with method(model) as own_trace:
            found = run_with_cache(model, own, tokens[row : row + 1])
        torch.testing.assert_close(together[row], found[0], atol=1e-5, rtol=1e-5)
        assert [counts[row] for counts in trace.vision_tokens] == [counts[0] for counts in own_trace.vision_tokens]


@pytest.mark.parametrize("alike", [[[0], [], [0]], [[], [], []]])
@pytest.mark.parametrize("method", [RANKED, LOUD], ids=["ranked", "thresholds"])
def test_generation_from_any_cache(method, alike):
    """The model's, the caller's, and that of beams, which are those of each row alone."""
    model, data = sighted(4), prompts(4, ["titttt", "tit", "titt"], alike)
    options = {"max_new_tokens": 5, "do_sample": False, "suppress_tokens": [IMAGE_ID]}
    beams = options | {"num_beams": 2, "num_return_sequences": 2}
    with method(model):
        own = model.generate(**data.inputs, **options)[:, -5:]
        given = model.generate(**data.inputs, past_key_values=DynamicCache(config=model.config), **options)[:, -5:]
        steps = run_with_cache(model, data, own)[:, :-1]
        steps[..., IMAGE_ID] = -torch.inf
        together = model.generate(**data.inputs, **beams)[:, -5:]
        single = [model.generate(**alone(data, row, row, 1), **beams)[:, -5:] for row in range(3)]
    assert torch.equal(own, given) and torch.equal(own, steps.argmax(-1))
    assert torch.equal(together, torch.cat(single))


def test_a_cache_that_was_cut_can_be_cropped():
    model, data = toy("llava"), batch("llava", ["titttttt"])
    data.inputs["input_ids"][0, -4:] = torch.tensor([7, 8, 7, 8])  # something to look up
    options = {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": [IMAGE_ID]}
    with LATE(model):
        cache, more = model(**data.inputs).past_key_values, torch.tensor([[5, 6]])
        after = model(input_ids=more, past_key_values=cache).logits
        cache.crop(-2)
        assert torch.equal(after, model(input_ids=more, past_key_values=cache).logits)
        assert [layer.keys.shape[2] for layer in cache.layers] == [25, 12, 12, 12, 12]
        cache.crop(-4)  # into the prompt's text
        model(input_ids=more, past_key_values=cache)
        assert [layer.keys.shape[2] for layer in cache.layers] == [23, 10, 10, 10, 10]
        assert model.generate(**data.inputs, prompt_lookup_num_tokens=2, **options).shape[1] == 23 + 8


@pytest.mark.parametrize("change", ["crop", "grow"])
def test_a_cut_cache_that_was_changed_is_refused(change):
    model, data = toy("llava"), batch("llava", ["tittt"])
    with LATE(model):
        cache = model(**data.inputs).past_key_values
        keys = cache.layers[2].keys
        cache.layers[2].keys = keys[:, :, 1:] if change == "crop" else torch.cat([keys, keys], 2)
        with pytest.raises(ValueError, match=r"after the last prompt .* it must hold \[20, 7, 7, 7, 7\]"):
            model(input_ids=torch.tensor([[5]]), past_key_values=cache)


def test_without_a_cache_nothing_is_cut():
    model, data = sighted(7), prompts(7, ["titttt"], [[0, 2]])
    with RANKED(model):
        logits = [model(**data.inputs, use_cache=use).logits[0, -1] for use in (True, False)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("share", [0.035, 0.05, 0.0625, 0.07])
def test_the_sum_that_thresholds_are_of_is_a_rows_own(share):
    model, data = sighted(4), prompts(4, ["t" * 16 + "itt", "titittt", "titt"], [[], [], [], [0]])
    method, images = MustDrop(Schedule({2: 1.0}), thresholds=(share, 9.0)), [(0, 1), (1, 2), (3, 1)]
    with method(model) as trace:
        model(**data.inputs)
        together = trace.vision_tokens[2]
        for row, n in enumerate(together):
            model(**alone(data, row, *images[row]))
            assert trace.vision_tokens[2] == [n]


def test_nothing_of_the_text_is_kept_after_a_pass():
    data, hooks, method = prompts(4, ["titt"], [[0]]), [], MustDrop(Schedule({2: 4, 3: 2}))
    object.__setattr__(method, "hooks", lambda: hooks.append(WindowMergingHooks()) or hooks[-1])
    with method(sighted(4)):
        sighted(4)(**data.inputs)
        assert hooks[0].text._notes == {}


def test_features_of_another_run_are_refused():
    model, data, other = sighted(4), prompts(4, ["tit"], [[]]), prompts(4, ["tit"], [[]], seed=1)
    features = model.get_image_features(data.inputs["pixel_values"])
    with RANKED(model):
        for _ in range(2):
            with pytest.raises(ValueError, match="Pass pixel_values"):
                model(input_ids=data.inputs["input_ids"], mm_encoder_outputs={"image": features})
            model(**other.inputs)


def test_a_cache_with_windows_that_the_model_makes_itself_is_not_cut():
    text = MistralConfig(**zoo_models.TEXT, sliding_window=8)
    vision = zoo_models.BUILD["llava"]().config.vision_config
    config = LlavaConfig(vision_config=vision, text_config=text, **zoo_models.LLAVA_IDS)
    model, data = LlavaForConditionalGeneration(config).eval(), zoo.prompt("llava", ["titttt"])
    with METHODS["mustdrop"](Schedule({1: 6, 3: 2}))(model), pytest.raises(ValueError, match="sliding-window layers"):
        model(**data.inputs, use_cache=True)
