"""TransPrune against its formula: transitions of both modules, added up over layers and drops, and attention."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.float64_models import attention_map, linear, queries_keys, rms
from tests.support.slow_decoder import compare, fast
from tests.support.text_rater_loops import mean_over
from v2drop import METHODS, Schedule
from v2drop.contract.toys import FAMILIES, WIDTH, batch, toy
from v2drop.hooks.transitions import TransitionHooks, norm_ratio_and_angle

TransPrune = METHODS["transprune"]
ROWS = ["ttvvvvvvvvvvvvvvttttt", "vvvvvvvvt", "tvvvvvttvvvvvvvttt", "t" + "v" * 40 + "tttt"]
SCHEDULES = [{1: 5}, {2: 0.5}, {1: 0.7, 3: 0.3}, {1: 6, 2: 3, 3: 1}, {2: 7, 4: 0}, {2: 0.75, 4: 0.5}]


def modules(ran):
    """Input and output of self-attention and of the MLP of a layer, without residuals."""
    layer, attention = ran.layer, ran.layer.self_attn
    given = rms(ran.x, layer.input_layernorm)
    queries, keys = queries_keys(layer, ran.x, ran.ids)
    values = linear(given, attention.v_proj).unflatten(-1, (-1, attention.head_dim))
    values = values.repeat_interleave(queries.shape[1] // values.shape[1], 1)
    mixed = torch.einsum("hqk,khd->qhd", attention_map(queries, keys), values).flatten(1)
    attended = linear(mixed, attention.o_proj)
    normed, mlp = rms(ran.x + attended, layer.post_attention_layernorm), layer.mlp
    gate = linear(normed, mlp.gate_proj)
    return (given, attended), (normed, linear(gate * gate.sigmoid() * linear(normed, mlp.up_proj), mlp.down_proj))


def variation(before, after):
    """Of every column, by plain loops."""
    sizes = [(float(b @ b) ** 0.5, float(a @ a) ** 0.5) for b, a in zip(before, after, strict=True)]
    turns = [1 - float(b @ a) / (s * t) for b, a, (s, t) in zip(before, after, sizes, strict=True)]
    total = sum(math.exp(turn) for turn in turns)
    return [t / s * math.exp(turn) / total for turn, (s, t) in zip(turns, sizes, strict=True)]


def reference(seen, first):
    total = dict.fromkeys((seen.names[c] for c in seen.vision), 0.0)
    for ran in seen.ran[first - 1 :]:
        for before, after in modules(ran):
            for name, value in zip(ran.names, variation(before, after), strict=True):
                if name in total:
                    total[name] += value
    weights = attention_map(*queries_keys(seen.layers[seen.layer], seen.x, seen.ids))
    guided = [mean_over(weights, seen.text_after, c) for c in seen.vision]
    changed = [total[seen.names[c]] for c in seen.vision]
    return seen.best([a / sum(changed) + b / sum(guided) for a, b in zip(changed, guided, strict=True)])


def uneven():
    """A model whose norms have weights of their own."""
    torch.manual_seed(0)
    model = FAMILIES["llama"]().eval().requires_grad_(False)
    for layer in model.model.layers:
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.copy_(torch.rand(WIDTH).mul(2).exp())
    return model


@pytest.mark.parametrize("family", ["llama", "qwen2", "uneven"])
@settings(max_examples=25)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 99), left=st.sampled_from(SCHEDULES))
def test_is_the_reference(family, row, seed, left):
    model = uneven() if family == "uneven" else toy(family)
    data = batch("llama", [row], seed=seed)
    compare(model, TransPrune(Schedule(left)), data, lambda seen: reference(seen, min(left)), "repack")


def test_a_transition_by_hand():
    """From (3, 4) to twice its length, straight on, at a right angle and back."""
    before = torch.tensor([[[3.0, 4.0]] * 3])
    after = torch.tensor([[[6.0, 8.0], [-8.0, 6.0], [-6.0, -8.0]]])
    growth, turn = norm_ratio_and_angle(before, after)
    torch.testing.assert_close(growth, torch.full((1, 3), 2.0))
    torch.testing.assert_close(turn, torch.tensor([[0.0, 1.0, 2.0]]))


def test_the_sum_by_hand():
    """Turns 0 and log 3 weigh 1/4 and 3/4, padding nothing; what was added before a drop goes along."""
    hooks = TransitionHooks()
    hooks._recent = [(torch.tensor([[9.0, 4.0, 4.0]]), torch.tensor([[7.0, 0.0, math.log(3)]]))]
    total = hooks.total(torch.tensor([[False, True, True]]))
    torch.testing.assert_close(total, torch.tensor([[0.0, 1.0, 3.0]]))
    hooks.columns_kept(torch.tensor([[2]]))
    hooks._recent = [(torch.tensor([[5.0]]), torch.tensor([[2.0]]))]
    torch.testing.assert_close(hooks.total(torch.tensor([[True]])), torch.tensor([[8.0]]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_has_no_part(side):
    rows = ["tvvvvvvvvtttttt", "vvvvvvvvtt", "tvvvvt"]
    data, model, method = batch("llama", rows, side), toy("llama"), TransPrune(Schedule({1: 4, 3: 2}))
    with method(model, **data.options) as trace:
        model(**data.inputs, position_ids=data.positions)
    for row in range(3):
        there = data.present[row]
        with method(model, vision_mask=data.vision[row, there][None]) as own:
            model(input_ids=data.inputs["input_ids"][row, there][None])
        for layer in (1, 3):
            n = own.scores[layer].shape[1]
            torch.testing.assert_close(trace.scores[layer][row, :n], own.scores[layer][0], atol=1e-6, rtol=1e-4)


def test_nothing_is_noted_outside_the_window_or_kept_after_a_pass():
    data, model, made = batch("llama", ["tvvvvvvvtt"]), toy("llama"), []
    method = TransPrune(Schedule({2: 4, 3: 2}))
    object.__setattr__(method, "hooks", lambda: made.append(TransitionHooks()) or made[-1])
    dropping, hooks = method(model, **data.options), []

    def count():
        hooks.append([(len(x.mlp._forward_hooks), len(x.self_attn._forward_hooks)) for x in model.model.layers])

    count()  # transformers may have left some of its own
    with dropping:
        count()
        more = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(*hooks, strict=True)]
        assert more == [(0, 0), (1, 1), (1, 1), (0, 0), (0, 0)]
        cache = model(**data.inputs).past_key_values
        assert made[0]._recent == [] and made[0]._total == 0.0
        model(input_ids=torch.tensor([[5]]), past_key_values=cache)
        assert made[0]._recent == [] and made[0]._total == 0.0


def test_generation_scores_the_prompt_once():
    data, model, method = batch("llama", ["tvvvvvvvtt"]), toy("llama"), TransPrune(Schedule({2: 4, 3: 2}))
    first = fast(model, method, data, torch.tensor([[5, 6, 7]]))[2].scores
    again = fast(model, method, data, torch.tensor([[5]]))[2].scores
    assert all(torch.equal(first[layer], again[layer]) for layer in (2, 3))


def test_layers_that_run_again_in_a_backward_pass_are_not_added():
    torch.manual_seed(0)
    model, data, scores = FAMILIES["llama"]().train(), batch("llama", ["tvvvvvvvtt"]), []
    model.activation_checkpointing_enable()
    x = model.model.embed_tokens(data.inputs["input_ids"]).detach().requires_grad_()
    with TransPrune(Schedule({1: 5, 3: 2}))(model, **data.options) as trace:
        for _ in range(2):
            model(inputs_embeds=x, use_cache=False).logits[0, -1].sum().backward()
            scores.append(trace.scores)
    assert all(torch.equal(scores[0][layer], scores[1][layer]) for layer in (1, 3))


def test_the_released_schedule():
    """Layers of numbers 7, 9 and 12, counted from 1, prune their outputs."""
    assert TransPrune.released_schedule.after(576) == {7: 504, 9: 360, 12: 72}
