"""The mechanics of dropping: reference points, generation in all its ways, what is refused, what is left behind."""

import pytest
import torch
from oracle import oracle_run
from toys import IMAGE_ID, IMAGE_TOKENS, LAYERS, TEXT, batch, toy
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

from v2drop import METHODS, Random, Schedule, Uniform, V2Drop

HALF = Schedule({1: 0.5, 3: 0.25})
EVERY_METHOD = pytest.mark.parametrize("name", METHODS)


def footprint(model):
    """Everything a context manager could leave behind."""
    hooks = [
        len(getattr(module, name))
        for module in model.modules()
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_forward_pre_hooks_with_kwargs",
            "_backward_hooks",
        )
    ]
    attributes = [sorted(vars(module)) for module in model.modules()]
    return hooks, attributes, sorted(model.state_dict()), [name for name, _ in model.named_buffers()]


@pytest.fixture
def prompt():
    return batch("llava", ["tittttt"])


def test_reference_point_of_the_released_llava_code():
    """576 / 288 / 144 / 1 of 35 + 576 + 24 tokens: layers run on 635 / 347 / 203 / 60, measured on that code."""
    torch.manual_seed(0)
    config = LlamaConfig(**TEXT | {"num_hidden_layers": 32}, max_position_embeddings=1024)
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    vision = torch.zeros(1, 635, dtype=torch.bool)
    vision[:, 35 : 35 + 576] = True
    seen = {}
    for i, layer in enumerate(model.model.layers):
        layer.self_attn.register_forward_pre_hook(
            lambda module, args, kwargs, i=i: seen.setdefault(i, []).append(kwargs["position_ids"]),
            with_kwargs=True,
        )
    method = V2Drop(Schedule.preset("llava-1.5-7b", 192))
    with method(model, vision_mask=vision) as trace:
        out = model.generate(
            torch.randint(4, 64, (1, 635)), max_new_tokens=2, return_dict_in_generate=True, pad_token_id=0
        )
    assert trace.lengths == [635] * 3 + [347] * 14 + [203] * 5 + [60] * 10
    assert trace.average_tokens == 202.8125
    assert [out.past_key_values.get_seq_length(i) for i in (0, 3, 17, 22)] == [636, 348, 204, 61]
    text = [*range(35), *range(611, 635)]
    for layer, start in ((3, 3), (17, 17), (21, 17), (31, 22)):
        prefill, decode = seen[layer]
        assert prefill[0].tolist() == sorted(text + trace.kept[start][0].tolist())
        assert decode.tolist() == [[635]]


def test_kept_sets_are_nested_ascending_and_the_highest_scores(prompt):
    model, method = toy("llava"), V2Drop(HALF)
    with method(model) as trace:
        model(**prompt.inputs)
    assert trace.candidates[3].tolist() == trace.kept[1].tolist()
    for layer, kept in trace.kept.items():
        row, positions = trace.scores[layer][0], trace.candidates[layer][0]
        best = positions[row.argsort(descending=True)[: kept.shape[1]]]
        assert kept[0].tolist() == sorted(best.tolist())


def test_scores_are_the_norms_of_the_updates(prompt):
    """By an independent path: the hidden states that the plain model puts out."""
    model = toy("llava")
    states = model(**prompt.inputs, output_hidden_states=True).hidden_states
    with V2Drop(Schedule({2: 3}))(model) as trace:
        model(**prompt.inputs)
    update = (states[2] - states[1])[0, prompt.vision[0]].double()
    torch.testing.assert_close(trace.scores[2][0].double(), update.square().sum(-1).sqrt(), rtol=1e-5, atol=1e-6)


def test_ragged_rows_pad_their_trace():
    data = batch("llava", ["iit", "tit", "tt"])
    with V2Drop(HALF)(toy("llava")) as trace:
        toy("llava")(**data.inputs)
    n = IMAGE_TOKENS
    assert trace.vision_tokens == [[2 * n, n, 0]] + [[n, n // 2, 0]] * 2 + [[n // 2, n // 4, 0]] * 2
    assert (trace.kept[1] >= 0).sum(1).tolist() == [n, n // 2, 0]
    assert (~trace.scores[1].isnan()).sum(1).tolist() == [2 * n, n, 0]
    assert trace.average_tokens == pytest.approx((2 * n * 0.5 + n * 0.5) / 2)


def test_text_between_images_is_never_dropped():
    data = batch("llava", ["titittt"])
    with V2Drop(Schedule({1: 0}))(toy("llava")) as trace:
        out = toy("llava")(**data.inputs)
    assert trace.lengths == [data.vision.shape[1]] + [5] * (LAYERS - 1)
    assert out.logits[0, ~data.vision[0]].isfinite().all()


def test_a_prompt_without_vision_tokens_is_left_alone():
    data = batch("llava", ["ttttt", "tt"])
    plain = toy("llava")(**data.inputs).logits
    with V2Drop(HALF)(toy("llava")) as trace:
        assert torch.equal(toy("llava")(**data.inputs).logits, plain)
    assert trace.kept == {} and trace.average_tokens == 0 and trace.lengths == [5] * LAYERS


def test_a_prompt_that_ends_in_a_vision_token_keeps_it():
    data = batch("llava", ["ti"])
    with V2Drop(Schedule({1: 0}))(toy("llava")) as trace:
        out = toy("llava")(**data.inputs)
    assert trace.vision_tokens[0] == [IMAGE_TOKENS - 1] and out.logits[0, -1].isfinite().all()


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
    data, model = batch("llava", ["titttt", "tit", "tttt"]), toy("llava", operator)
    results = []
    with METHODS[name](HALF)(model):
        for use_cache in (True, False):
            out = model.generate(**data.inputs, max_new_tokens=6, use_cache=use_cache, do_sample=False, **options)
            results.append(out)
    assert torch.equal(*results)


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


def test_a_prompt_after_a_plain_start_of_the_conversation():
    """An undropped cache from outside is as good as no cache."""
    data, model = batch("llama", ["ttttt"]), toy("llama")
    plain = model(**data.inputs)
    more = torch.randint(4, 64, (1, 2))
    mask = torch.ones(1, 5, dtype=torch.bool)
    with V2Drop(HALF)(model, vision_mask=mask):
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


def test_nothing_is_left_on_the_model(prompt):
    model = toy("llava")
    before = footprint(model)
    with V2Drop(HALF)(model):
        assert footprint(model) != before
        model.generate(**prompt.inputs, max_new_tokens=2)
    assert footprint(model) == before


def test_nothing_is_left_after_an_exception_and_the_model_can_be_used_again(prompt):
    model, method = toy("llava"), V2Drop(HALF)
    before, plain = footprint(model), toy("llava")(**prompt.inputs).logits
    with pytest.raises(RuntimeError, match="Boom"), method(model):

        def explode(*_):
            raise RuntimeError("Boom")

        handle = model.model.language_model.layers[2].register_forward_pre_hook(explode)
        try:
            model(**prompt.inputs)
        finally:
            handle.remove()
    assert footprint(model) == before
    assert torch.equal(model(**prompt.inputs).logits, plain)
    with method(model) as trace:
        model(**prompt.inputs)
    assert trace.kept[3].shape == (1, IMAGE_TOKENS // 4)


def test_an_exception_inside_a_layer_does_not_spoil_the_next_run(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model) as trace:
        model(**prompt.inputs)
        first = trace.kept[3].clone()
        with pytest.raises(ValueError, match="output_attentions"):
            model(**prompt.inputs, output_attentions=True)
        model(**prompt.inputs)
        assert torch.equal(trace.kept[3], first)


def test_repeated_use_gives_the_same(prompt):
    for name, method in METHODS.items():
        kept = []
        for _ in range(2):
            with method(HALF)(toy("llava")) as trace:
                toy("llava")(**prompt.inputs)
            kept.append(trace.kept[3])
        assert torch.equal(*kept), name


def test_nested_use_is_refused_and_the_outer_one_goes_on(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model) as trace:
        with pytest.raises(ValueError, match="already inside"), Random(HALF)(model):
            pass
        model(**prompt.inputs)
        assert len(trace.kept) == 2
    with Uniform(HALF)(model):
        model(**prompt.inputs)


def test_an_empty_trace_says_so():
    with V2Drop(HALF)(toy("llava")) as trace, pytest.raises(ValueError, match="run the model inside"):
        _ = trace.average_tokens


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_hidden_states": True}, "output_hidden_states=True is not supported"),
        ({"output_attentions": True}, "output_attentions=True is not supported"),
        ({"max_new_tokens": 2, "cache_implementation": "static"}, "StaticCache cannot hold"),
        ({"max_new_tokens": 2, "prefill_chunk_size": 8}, "prefilled at once"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_refused(prompt, arguments, message):
    model = toy("llava", "eager")
    run = model.generate if "max_new_tokens" in arguments else model
    with V2Drop(HALF)(model), pytest.raises(ValueError, match=message):
        run(**prompt.inputs, **arguments)


def test_a_static_cache_passed_by_hand_is_refused():
    data, model = batch("llama", ["tvvvvt"]), toy("llama")
    cache = StaticCache(config=model.config, max_cache_len=16)
    with V2Drop(HALF)(model, **data.options), pytest.raises(ValueError, match="allowed: DynamicCache"):
        model(**data.inputs, past_key_values=cache)


def test_a_cache_of_another_dropping_is_refused(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model):
        cache = model(**prompt.inputs).past_key_values
    with V2Drop(HALF)(model), pytest.raises(ValueError, match="tokens per layer"):
        model(input_ids=torch.tensor([[5]]), past_key_values=cache)


def test_flex_attention_is_refused():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TEXT)).eval()
    model.config._attn_implementation = "flex_attention"
    data = batch("llama", ["tvvvvt"])
    with (
        V2Drop(HALF)(model, **data.options),
        pytest.raises(ValueError, match="'flex_attention' is not supported"),
    ):
        model(**data.inputs)


def test_an_unsupported_model_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(ValueError, match=r"GPT2LMHeadModel .*not supported; allowed: llava, llama, qwen2"):
        V2Drop(HALF)(model)
    with pytest.raises(ValueError, match="Linear .*not supported"):
        V2Drop(HALF)(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="language-model head"):
        V2Drop(HALF)(toy("llama").model, vision_mask=torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, on importing its compiler
def test_a_compiled_model_is_refused():
    with pytest.raises(ValueError, match="compiled"):
        V2Drop(HALF)(torch.compile(toy("llava")))


def test_schedules_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"layer 5 is out of range: .* 5 decoder layers, allowed: 0 to 4"):
        V2Drop(Schedule({5: 1}))(toy("llava"))
    with pytest.raises(ValueError, match="layer 0 does not have"):
        V2Drop(Schedule({0: 1}))
    with pytest.raises(ValueError, match="metric must be one of l2, l1, cosine.*got 'l3'"):
        V2Drop(HALF, metric="l3")


def test_vision_masks_that_do_not_fit_are_refused():
    data, model = batch("llama", ["tvvvvt"]), toy("llama")
    with pytest.raises(ValueError, match="a text model has no vision tokens of its own"):
        V2Drop(HALF)(model)
    with pytest.raises(ValueError, match=r"must be a BoolTensor \[batch, sequence\]; got torch.int64 \[1, 6\]"):
        V2Drop(HALF)(model, vision_mask=data.vision.long())
    with (
        V2Drop(HALF)(model, vision_mask=data.vision[:, :4]),
        pytest.raises(ValueError, match=r"must be \[1, 6\]"),
    ):
        model(**data.inputs)


def test_embeddings_need_a_vision_mask(prompt):
    model = toy("llava")
    embeds = model.get_input_embeddings()(prompt.inputs["input_ids"])
    with V2Drop(HALF)(model), pytest.raises(ValueError, match="pass vision_mask="):
        model(inputs_embeds=embeds)
    with V2Drop(HALF)(model, vision_mask=prompt.vision) as trace:
        model(inputs_embeds=embeds)
    assert trace.kept[3].shape == (1, IMAGE_TOKENS // 4)


def test_a_schedule_whose_counts_grow_for_this_prompt_is_refused(prompt):
    with (
        V2Drop(Schedule({1: 2, 3: 0.5}))(toy("llava")),
        pytest.raises(ValueError, match="layer 3 would keep 8"),
    ):
        toy("llava")(**prompt.inputs)


def test_a_score_of_the_wrong_shape_is_refused(prompt):
    class Wrong(V2Drop):
        def score(self, candidates):
            return super().score(candidates)[:, 1:]

    with (
        Wrong(HALF)(toy("llava")),
        pytest.raises(ValueError, match=r"one score a candidate, \(1, 16\); got \(1, 15\)"),
    ):
        toy("llava")(**prompt.inputs)
