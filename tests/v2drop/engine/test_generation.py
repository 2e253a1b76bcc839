"""Everything after the prefill, with and without a cache, and other ways to run a model."""

import pytest
import torch

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS, Schedule, V2Drop
from v2drop.contract.oracle import oracle_run
from v2drop.contract.toys import IMAGE_ID, IMAGE_TOKENS, LAYERS, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})
EVERY_METHOD = pytest.mark.parametrize("name", METHODS)


@pytest.fixture
def prompt():
    return batch("llava", ["tittttt"])


def test_gaps_in_position_ids_are_no_packed_sequences():
    """Without a cache and a mask, transformers takes a jump in position ids for a new sequence (ecosystem.md, 0.1)."""
    data = batch("llama", ["ttvvvvvvvvtt"])
    model, none = toy("llama"), torch.zeros(1, 0, dtype=torch.long)
    for name, layer in (("random", 0), ("uniform", 0), ("v2drop", 1)):
        with METHODS[name](Schedule({layer: 3}))(model, **data.options) as trace:
            got = model(input_ids=data.inputs["input_ids"], use_cache=False).logits[:, -1]
        expected = oracle_run(model, data, trace.kept, none, LAYERS)[:, -1]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@EVERY_METHOD
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}], ids=str)
def test_generation_with_and_without_cache_agree(name, operator, options):
    if METHODS[name].uses_query:
        pytest.skip(f"{name} declares that it uses the query: without a cache every token is the last of its prompt")
    data, model = batch("llava", ["titttt", "tit", "tttt"]), toy("llava", operator)
    results, fixed = [], {"suppress_tokens": [IMAGE_ID]}
    with fitted(name, {1: 0.5, 3: 0.25})(model):
        for use_cache in (True, False):
            out = model.generate(
                **data.inputs, max_new_tokens=6, use_cache=use_cache, do_sample=False, **fixed, **options
            )
            results.append(out)
    assert torch.equal(*results)


def test_the_last_column_of_a_right_padded_batch_is_what_it_is_without_dropping():
    """Padding or not, `generate` reads the next token there, so it stays."""
    data, model = batch("llama", ["tvvvvvvttt", "vvvvvtt"], "right"), toy("llama")
    with V2Drop(HALF)(model, **data.options) as trace:
        got = model(**data.inputs, position_ids=data.positions).logits[:, -1]
    none = torch.zeros(2, 0, dtype=torch.long)
    expected = oracle_run(model, data, trace.kept, none, LAYERS)[:, -1]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_generation_is_greedy_on_the_oracle():
    data, model = batch("llava", ["titttt", "tit", "tttt"]), toy("llava")
    with V2Drop(HALF)(model) as trace:
        tokens = model.generate(**data.inputs, max_new_tokens=6, do_sample=False)[:, data.vision.shape[1] :]
    logits = oracle_run(model, data, trace.kept, tokens, LAYERS)[:, data.vision.shape[1] - 1 : -1]
    assert torch.equal(logits.argmax(-1), tokens)


def test_sampling_draws_from_the_same_distribution():
    data, model = batch("llava", ["titttt", "tit"]), toy("llava")
    drawn = []
    with V2Drop(HALF)(model):
        for use_cache in (True, False):
            torch.manual_seed(5)
            options = {"do_sample": True, "use_cache": use_cache, "suppress_tokens": [IMAGE_ID]}
            drawn.append(model.generate(**data.inputs, max_new_tokens=6, **options))
    assert torch.equal(*drawn)


def test_a_chunk_of_tokens_after_the_prefill():
    data, model = batch("llama", ["tvvvvvvttt", "vvvvvtt"]), toy("llama")
    chunk = torch.randint(4, 64, (2, 3))
    with V2Drop(HALF)(model, **data.options) as trace:
        out = model(**data.inputs, position_ids=data.positions)
        present = torch.cat([data.inputs["attention_mask"], torch.ones_like(chunk)], 1)
        after = data.present.sum(1, keepdim=True) + torch.arange(3)
        got = model(
            input_ids=chunk, attention_mask=present, position_ids=after, past_key_values=out.past_key_values
        ).logits
    expected = oracle_run(model, data, trace.kept, chunk, LAYERS)[:, -3:]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_a_plain_start_of_the_conversation_is_gone_on_with():
    """An undropped cache from outside is as good as no cache."""
    model, more = toy("llava"), torch.randint(4, 64, (1, 2))
    data = batch("llava", ["ttttt"])
    plain = model(**data.inputs)
    with V2Drop(HALF)(model):
        got = model(input_ids=more, past_key_values=plain.past_key_values).logits
    whole = model(input_ids=torch.cat([data.inputs["input_ids"], more], 1)).logits
    torch.testing.assert_close(got, whole[:, -2:], atol=1e-5, rtol=1e-5)


def test_bfloat16_runs_and_keeps_the_schedule(prompt):
    torch.manual_seed(0)
    model = toy("llava").__class__(toy("llava").config).eval().to(torch.bfloat16)
    inputs = prompt.inputs | {"pixel_values": prompt.inputs["pixel_values"].bfloat16()}
    with V2Drop(HALF)(model) as trace:
        out = model.generate(**inputs, max_new_tokens=4)
    n = IMAGE_TOKENS
    assert out.shape[1] == prompt.vision.shape[1] + 4
    assert trace.lengths == [n + 6, *[n // 2 + 6] * 2, *[n // 4 + 6] * 2]
    assert trace.scores[1].dtype == torch.float32


def test_a_loss_over_the_answer_is_finite_and_the_oracles(prompt):
    model, labels = toy("llava"), prompt.inputs["input_ids"].clone()
    labels[prompt.vision] = -100
    labels[:, :-2] = -100
    with V2Drop(HALF)(model) as trace:
        loss = model(**prompt.inputs, labels=labels).loss
    none = torch.zeros(1, 0, dtype=torch.long)
    logits = oracle_run(model, prompt, trace.kept, none, LAYERS)
    expected = torch.nn.functional.cross_entropy(logits[0, -3:-1], labels[0, -2:])
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("layer", [0, 1])
def test_prompts_may_take_turns(name, layer):
    """Two caches alive in one `with`, as in classifier-free guidance."""
    skip_unless_possible(name, "llama", merges_tokens=False)
    if layer < METHODS[name].first_layer:
        pytest.skip(f"{name} declares that it drops from layer {METHODS[name].first_layer} on")
    model = toy("llama")
    turns = [batch("llama", [row], seed=i) for i, row in enumerate(("tvvvvvvttt", "tvvvvvvvtt"))]
    tokens = torch.randint(4, 64, (1, 3))
    mask = turns[0].vision & turns[1].vision
    got, kept, caches = [], [], []
    with fitted(name, {layer: 4, 3: 1})(model, vision_mask=mask) as trace:
        for turn in turns:
            turn.vision = mask
            caches.append(model(**turn.inputs).past_key_values)
            kept.append(trace.kept)
        for i in range(3):
            got.append([model(input_ids=tokens[:, i : i + 1], past_key_values=c).logits[:, -1] for c in caches])
    for i, turn in enumerate(turns):
        expected = oracle_run(model, turn, kept[i], tokens, LAYERS, METHODS[name].positions)[:, -3:]
        torch.testing.assert_close(torch.stack([step[i] for step in got], 1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("candidates", [2, 8])
def test_prompt_lookup_decoding_gives_the_greedy_tokens(candidates):
    """Assisted generation prefills the prompt with draft tokens and crops the cache again."""
    model = toy("llava")
    for seed in range(4):
        data = batch("llava", ["titttttt"], seed=seed)
        data.inputs["input_ids"][0, -4:] = torch.tensor([7, 8, 7, 8])  # something to look up
        options = {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": [IMAGE_ID]}
        with V2Drop(HALF)(model):
            greedy = model.generate(**data.inputs, **options)
            assisted = model.generate(**data.inputs, prompt_lookup_num_tokens=candidates, **options)
        assert torch.equal(greedy, assisted)


def test_gradients_through_dropped_tokens_are_those_of_the_oracle(prompt):
    torch.manual_seed(0)
    model = toy("llava").__class__(toy("llava").config).eval()
    labels = prompt.inputs["input_ids"].clone()
    labels[:, :-2] = -100
    with V2Drop(HALF)(model) as trace:
        model(**prompt.inputs, labels=labels).loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits = oracle_run(model, prompt, trace.kept, torch.zeros(1, 0, dtype=torch.long), LAYERS)
    torch.nn.functional.cross_entropy(logits[0, -3:-1], labels[0, -2:]).backward()
    assert "lm_head.weight" in gradients
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")  # older have no other
def test_layers_that_run_again_in_the_backward_pass_are_as_long_as_before_or_refused(prompt):
    model, found = toy("llava").__class__(toy("llava").config).train(), []
    labels = prompt.inputs["input_ids"].masked_fill(torch.arange(prompt.vision.shape[1]) < IMAGE_TOKENS + 2, -100)
    for again in (False, True):
        if again:
            model.gradient_checkpointing_enable()
        with V2Drop(HALF)(model) as trace:
            if again and type(model.model.language_model.layers[0]).__call__ is not torch.nn.Module.__call__:
                with pytest.raises(ValueError, match="checkpointing .* runs hooks again"):
                    model(**prompt.inputs, labels=labels)
                return
            model(**prompt.inputs, labels=labels).loss.backward()
        found.append((trace.lengths, model.model.language_model.layers[2].mlp.up_proj.weight.grad.clone()))
        model.zero_grad()
    assert found[0][0] == found[1][0] and found[0][1].abs().max() > 0
    torch.testing.assert_close(*(gradient for _, gradient in found))
