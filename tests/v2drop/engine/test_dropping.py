"""What is dropped, on which tokens, at which lengths: reference points and the trace."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from v2drop import Schedule, V2Drop
from v2drop.contract.toys import IMAGE_TOKENS, LAYERS, TEXT, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})


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
