"""Every way to generate that transformers has: right, or a message before anything runs."""

import pytest
import torch
from transformers import GenerationConfig, WatermarkingConfig

from tests.support.left_behind import nothing_runs
from v2drop import Random, Schedule, V2Drop
from v2drop.contract.oracle import grown, oracle_run
from v2drop.contract.toys import FAMILIES, IMAGE_ID, LAYERS, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})
GREEDY = {"do_sample": False, "suppress_tokens": [IMAGE_ID], "max_new_tokens": 8}


def other(family, noise, seed=3):
    """A model whose drafts are right more often, the less noise there is."""
    torch.manual_seed(seed)
    model = FAMILIES[family]().eval().requires_grad_(False)
    model.load_state_dict(toy("llava").state_dict() if family == "llava" else model.state_dict())
    for parameter in model.parameters():
        parameter.add_(noise * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("drops", [False, True])
def test_drafts_of_an_assistant_do_not_change_the_greedy_tokens(noise, drops):
    model, assistant = toy("llava"), other("llava", noise)
    for seed in range(3):
        data = batch("llava", ["titttttt"], seed=seed)
        with V2Drop(HALF)(model) as trace:
            greedy, kept = model.generate(**data.inputs, **GREEDY), trace.kept
            if drops:
                with Random(HALF)(assistant):
                    assisted = model.generate(**data.inputs, assistant_model=assistant, **GREEDY)
            else:
                assisted = model.generate(**data.inputs, assistant_model=assistant, **GREEDY)
            assert all(torch.equal(kept[layer], trace.kept[layer]) for layer in kept)
        assert torch.equal(greedy, assisted)


def test_a_text_model_may_draft_for_pictures():
    model, data = toy("llava"), batch("llava", ["titttttt"])
    try:
        model.generate(**data.inputs, assistant_model=other("llama", 0.0), **GREEDY)
    except ValueError:
        pytest.skip("this transformers gives the pictures to the drafting model too")
    with V2Drop(HALF)(model):
        greedy = model.generate(**data.inputs, **GREEDY)
        assert torch.equal(greedy, model.generate(**data.inputs, assistant_model=other("llama", 0.0), **GREEDY))


@pytest.mark.parametrize("how", ["assistant", "early exit"])
def test_drafts_and_a_vision_mask_are_refused(how):
    """The drafts are part of the prefill, and how many there are is not known."""
    data, model = batch("llama", ["tvvvvvvttt"]), toy("llama")
    drafts = {"assistant_model": other("llama", 0.0)} if how == "assistant" else {"assistant_early_exit": 2}
    with V2Drop(HALF)(model, **data.options), pytest.raises(ValueError, match="draft"):
        model.generate(**data.inputs, max_new_tokens=4, do_sample=False, **drafts)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3, "do_sample": True},
        {"num_return_sequences": 2, "do_sample": True},
        {"num_beams": 3, "num_return_sequences": 2},
        {"num_beams": 2, "length_penalty": 2.0, "early_stopping": True},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
        {"watermarking_config": WatermarkingConfig()},
        {"min_p": 0.1, "temperature": 2.0, "do_sample": True},
    ],
    ids=str,
)
def test_a_way_to_choose_the_next_token_is_the_same_without_a_cache(options):
    model, data, results = toy("llava"), batch("llava", ["titttt", "tit", "tttt"]), []
    with V2Drop(HALF)(model):
        for use_cache in (True, False):
            torch.manual_seed(3)
            results.append(model.generate(**data.inputs, use_cache=use_cache, **(GREEDY | options)))
    assert torch.equal(*results)
    assert len(results[0]) == 3 * options.get("num_return_sequences", 1)


def greedy_by_hand(model, data, kept, n, mix=lambda logits, tokens: logits):
    """Greedy tokens on the oracle, which knows neither `generate` nor caches."""
    tokens = torch.zeros(len(data.present), 0, dtype=torch.long)
    for _ in range(n):
        logits = mix(oracle_run(model, data, kept, tokens, LAYERS)[:, -1], tokens)
        logits[:, IMAGE_ID] = -torch.inf
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    return tokens


def test_guidance_weighs_the_dropped_prompt_against_one_without_a_picture():
    model, data, last, weight = toy("llava"), batch("llava", ["titttttt"]), [], 1.5

    def mix(logits, tokens):
        alone = model(input_ids=torch.cat([data.inputs["input_ids"][:, -1:], tokens], 1)).logits[:, -1]
        given, alone = logits.log_softmax(-1), alone.log_softmax(-1)
        return weight * (given - alone) + alone

    with V2Drop(HALF)(model) as trace:
        model(**data.inputs)
        kept = trace.kept
        last = model.generate(**data.inputs, guidance_scale=weight, **GREEDY)[:, -8:]
        plain = model.generate(**data.inputs, **GREEDY)[:, -8:]
    assert torch.equal(last, greedy_by_hand(model, data, kept, 8, mix))
    assert not torch.equal(last, plain)


@pytest.mark.parametrize("family", ["llava", "llama"])
def test_a_second_turn_goes_on_from_the_returned_cache(family):
    data, model = batch("llava", ["titttttt"]) if family == "llava" else batch("llama", ["tvvvvvvttt"]), toy(family)
    question, length = torch.tensor([[9, 8, 7]]), data.vision.shape[1]
    with V2Drop(HALF)(model, **data.options) as trace:
        first = model.generate(**data.inputs, return_dict_in_generate=True, **GREEDY)
        kept, lengths = trace.kept, list(trace.lengths)
        both = torch.cat([first.sequences, question], 1)
        second = model.generate(
            both, attention_mask=torch.ones_like(both), past_key_values=first.past_key_values, **GREEDY
        )
        assert trace.lengths == lengths
    said = second[:, length:-8]
    data.inputs["input_ids"] = grown(data.inputs["input_ids"], said)
    data.inputs["attention_mask"] = torch.ones_like(both)
    data.vision = grown(data.vision, torch.zeros_like(said))
    assert torch.equal(second[:, -8:], greedy_by_hand(model, data, kept, 8))


def test_a_way_to_generate_of_the_users_own():
    def own(model, input_ids, logits_processor, stopping_criteria, generation_config, **kwargs):
        return model._sample(input_ids, logits_processor, stopping_criteria, generation_config, **kwargs)

    model, data = toy("llava"), batch("llava", ["titttt", "tit"])
    with V2Drop(HALF)(model):
        greedy = model.generate(**data.inputs, **GREEDY)
        assert torch.equal(greedy, model.generate(**data.inputs, custom_generate=own, **GREEDY))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefill_chunk_size": 8}, "prefilled at once"),
        ({"cache_implementation": "paged"}, "continuous batching .* is not supported"),
        # These moved to the hub with transformers 5, which says so itself.
        ({"penalty_alpha": 0.6, "top_k": 4}, "requires `trust_remote_code=True`"),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, "requires `trust_remote_code=True`"),
        ({"num_beams": 2, "force_words_ids": [[5]]}, "requires `trust_remote_code=True`"),
        ({"dola_layers": "low"}, "requires `trust_remote_code=True`"),
    ],
    ids=str,
)
def test_ways_that_cannot_be_followed_are_refused_before_anything_runs(options, message):
    model, data = toy("llava"), batch("llava", ["titt"])
    with V2Drop(HALF)(model), nothing_runs(model), pytest.raises(ValueError, match=message):
        model.generate(**data.inputs, **(GREEDY | options))


def test_what_generate_is_told_goes_before_its_configuration():
    model, data, config = toy("llava"), batch("llava", ["titt"]), GenerationConfig(cache_implementation="static")
    with V2Drop(HALF)(model):
        model.generate(**data.inputs, generation_config=config, cache_implementation="dynamic", max_new_tokens=2)
        with pytest.raises(ValueError, match="cannot hold a different number"):
            model.generate(data.inputs.pop("input_ids"), config, **data.inputs)


def test_continuous_batching_is_refused():
    model = toy("llama")
    with V2Drop(HALF)(model, vision_mask=torch.ones(1, 3, dtype=torch.bool)), nothing_runs(model):
        with pytest.raises(ValueError, match=r"generate_batch.* is not supported .* Use generate"):
            model.generate_batch([[4, 5, 6]], max_new_tokens=2)


def test_paged_attention_is_refused():
    model, data = FAMILIES["llama"]().eval(), batch("llama", ["tvvt"])
    model.config._attn_implementation = "paged|sdpa"
    with V2Drop(HALF)(model, **data.options), pytest.raises(ValueError, match=r"'paged\|sdpa' is not supported"):
        model(**data.inputs)


@pytest.mark.parametrize("how", ["generate", "call"])
@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions", "output_router_logits"])
def test_outputs_of_every_layer_are_refused_before_anything_runs(name, how):
    data, model = batch("llava", ["titt"]), toy("llava", "eager")
    with V2Drop(HALF)(model), nothing_runs(model):
        run = model.generate if how == "generate" else model
        with pytest.raises(ValueError, match=f"{name}=True is not supported"):
            run(**data.inputs, **{name: True})
