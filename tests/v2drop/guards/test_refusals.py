"""What cannot be followed is refused with a message that says what to do."""

from copy import deepcopy
from threading import Event, Thread

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from v2drop import Random, Schedule, V2Drop
from v2drop.contract.toys import IMAGE_TOKENS, LAYERS, TEXT, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})


@pytest.fixture
def prompt():
    return batch("llava", ["tittttt"])


def test_an_empty_trace_says_so():
    with V2Drop(HALF)(toy("llava")) as trace, pytest.raises(ValueError, match="run the model inside"):
        _ = trace.average_tokens


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_hidden_states": True}, "output_hidden_states=True is not supported"),
        ({"output_attentions": True}, "output_attentions=True is not supported"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_refused(prompt, arguments, message):
    model = toy("llava", "eager")
    with V2Drop(HALF)(model), pytest.raises(ValueError, match=message):
        model(**prompt.inputs, **arguments)


def test_a_cache_of_another_dropping_is_refused(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model):
        cache = model(**prompt.inputs).past_key_values
    with V2Drop(HALF)(model), pytest.raises(ValueError, match="tokens per layer"):
        model(input_ids=torch.tensor([[5]]), past_key_values=cache)


def test_a_changed_cache_is_refused(prompt):
    model, token = toy("llava"), torch.tensor([[5]])
    with V2Drop(HALF)(model):
        cache = model(**prompt.inputs).past_key_values
        cache.layers[2].crop(-1)
        with pytest.raises(ValueError, match="must hold .*changed since"):
            model(input_ids=token, past_key_values=cache)
        cache = model(**prompt.inputs).past_key_values
        cache.crop(-8)
        with pytest.raises(ValueError, match="beyond its closing text"):
            model(input_ids=token, past_key_values=cache)


def test_a_cache_from_which_nothing_was_dropped_may_be_cropped_anywhere(prompt):
    model, token = toy("llava"), torch.tensor([[5]])
    with V2Drop(Schedule({1: 1.0}))(model):
        cache = model(**prompt.inputs).past_key_values
        cache.crop(-8)
        got = model(input_ids=token, past_key_values=cache).logits
    cache = model(**prompt.inputs).past_key_values
    cache.crop(-8)
    assert torch.equal(got, model(input_ids=token, past_key_values=cache).logits)


def test_a_cache_shortened_at_layer_0_is_refused_elsewhere_although_its_layers_agree():
    data, model, token = batch("llama", ["tvvvvvvttt"]), toy("llama"), torch.tensor([[5]])
    with Random(Schedule({0: 2}))(model, **data.options):
        cache = model(**data.inputs).past_key_values
    with (
        Random(Schedule({0: 2}))(model, **data.options),
        pytest.raises(ValueError, match="no prompt of this `with` filled it"),
    ):
        model(input_ids=token, past_key_values=cache)


def test_a_second_generate_on_a_cache_shortened_at_layer_0_is_refused():
    """It slices the new prompt by the length of the first layer's cache, which is short."""
    data, model = batch("llama", ["tvvvvvvttt"]), toy("llama")
    with Random(Schedule({0: 2}))(model, **data.options):
        out = model.generate(**data.inputs, max_new_tokens=3, return_dict_in_generate=True)
        more = torch.cat([out.sequences, torch.tensor([[5, 6]])], 1)
        with pytest.raises(ValueError, match="drop at layer 1 or later"):
            model.generate(
                more, attention_mask=torch.ones_like(more), past_key_values=out.past_key_values, max_new_tokens=3
            )


def test_a_vision_mask_for_what_is_cached_already_is_refused():
    data, model = batch("llama", ["tvvvvt"]), toy("llama")
    plain = model(input_ids=data.inputs["input_ids"][:, :2]).past_key_values
    with V2Drop(HALF)(model, vision_mask=data.vision[:, 2:]), pytest.raises(ValueError, match="Run the whole prompt"):
        model(input_ids=data.inputs["input_ids"][:, 2:], past_key_values=plain)


def test_a_vision_mask_of_other_rows_is_refused():
    data, model = batch("llama", ["tvvvvt"] * 4), toy("llama")
    with V2Drop(HALF)(model, vision_mask=data.vision[:2]), pytest.raises(ValueError, match=r"must be \[4, 6\]"):
        model(**data.inputs)
    with V2Drop(HALF)(model, vision_mask=data.vision[:, :4]), pytest.raises(ValueError, match=r"must be \[4, 6\]"):
        model(**data.inputs, use_cache=False)


def test_packed_sequences_are_refused_at_layer_0():
    data, model = batch("llama", ["tvvvvt"]), toy("llama")
    packed = torch.tensor([[0, 1, 2, 0, 1, 2]])
    with Random(Schedule({0: 2}))(model, **data.options), pytest.raises(ValueError, match="must ascend by one"):
        model(input_ids=data.inputs["input_ids"], position_ids=packed, use_cache=False)


def test_unknown_kinds_of_layers_are_refused():
    model = Qwen2ForCausalLM(Qwen2Config(**TEXT))
    model.config.layer_types = ["full_attention", "chunked_attention"] * 2 + ["full_attention"]
    with pytest.raises(ValueError, match="full_attention or sliding_attention; got chunked_attention"):
        V2Drop(HALF)(model, vision_mask=torch.ones(1, 3, dtype=torch.bool))


def test_a_copy_of_a_hooked_model_is_refused_and_leaves_the_trace_alone(prompt):
    model = toy("llava")
    with V2Drop(HALF)(model) as trace:
        model(**prompt.inputs)
        twin, lengths = deepcopy(model), list(trace.lengths)
        for run in (twin, twin.generate):
            with pytest.raises(ValueError, match="copied inside a dropping `with`"):
                run(**prompt.inputs)
        assert trace.lengths == lengths
    with pytest.raises(ValueError, match="copied inside a dropping `with`"):  # it would be the model's own
        deepcopy(twin).generate(**prompt.inputs)


def test_a_second_thread_is_refused_while_one_runs(prompt):
    model, started, over, found = toy("llava"), Event(), Event(), []

    def wait(*_):
        started.set()
        over.wait(30)

    def run():
        try:
            model(**prompt.inputs)
        except ValueError as error:
            found.append(str(error))

    handle = model.model.language_model.layers[1].register_forward_pre_hook(wait)
    try:
        with V2Drop(HALF)(model) as trace:
            first = Thread(target=run)
            first.start()
            started.wait(30)
            run()
            over.set()
            first.join(30)
            assert len(found) == 1 and "another thread" in found[0]
            assert sorted(trace.kept) == [1, 3] and trace.lengths[3] < trace.lengths[0]  # the first one's run was whole
            run()  # and then it is free again
            assert len(found) == 1 and len(trace.lengths) == LAYERS
    finally:
        over.set()
        handle.remove()


def test_flex_attention_is_refused():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TEXT)).eval()
    model.config._attn_implementation = "flex_attention"
    data = batch("llama", ["tvvvvt"])
    with (
        V2Drop(HALF)(model, **data.options),
        pytest.raises(ValueError, match="'flex_attention' is not supported .*flash_attention_2, 3, 4"),
    ):
        model(**data.inputs)


def test_an_unsupported_model_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(ValueError, match=r"GPT2LMHeadModel .*not supported; allowed: llava, llava_next.*, mistral"):
        V2Drop(HALF)(model)
    with pytest.raises(ValueError, match="Linear .*not supported"):
        V2Drop(HALF)(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="language-model head"):
        V2Drop(HALF)(toy("llama").model, vision_mask=torch.ones(1, 3, dtype=torch.bool))


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


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(0, 6, dtype=torch.bool), r"at least one row and one column; got \[0, 6\]"),
        (torch.ones(1, 0, dtype=torch.bool), r"at least one row and one column; got \[1, 0\]"),
        (torch.ones(1, 6, dtype=torch.bool, device="meta"), "which holds no values"),
        (torch.ones(1, 6, dtype=torch.bool).to_sparse(), "must be a dense tensor; got torch.sparse_coo"),
    ],
    ids=["no row", "no column", "meta", "sparse"],
)
def test_vision_masks_that_say_nothing_are_refused_at_once(mask, message):
    with pytest.raises(ValueError, match=message):
        V2Drop(HALF)(toy("llama"), vision_mask=mask)


def test_a_decoder_that_would_not_run_all_its_layers_is_refused():
    """A drop at one of the others would silently not happen."""
    model = LlamaForCausalLM(LlamaConfig(**TEXT))
    model.model.config.num_hidden_layers = 2
    with pytest.raises(ValueError, match=r"has 5 layers, and its configuration says that 2 of them run"):
        V2Drop(HALF)(model, vision_mask=torch.ones(1, 3, dtype=torch.bool))
    del model.model.layers[2:]
    with pytest.raises(ValueError, match="layer 3 is out of range"):
        V2Drop(HALF)(model, vision_mask=torch.ones(1, 3, dtype=torch.bool))
