"""DyCoke's second stage against plain loops, token by token."""

from copy import deepcopy

import pytest
import torch

from tests.support.float64_models import decoder_layer, logits
from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy
from v2drop.methods.before_llm.dycoke import DyCoke


def second_stage(model, ids, vision, share, deep):
    """Logits of the whole sequence: row t of deep layers does not see what was hidden at step t. In loops, float64."""
    x, n_prompt, unseen = model.model.embed_tokens(ids).double(), len(vision), False
    for number, layer in enumerate(model.model.layers):
        x, weights, _ = decoder_layer(layer, x, torch.arange(len(x)), unseen if number >= deep else False)
        if number == deep - 1:
            unseen, before = torch.zeros(len(ids), len(ids), dtype=torch.bool), None
            columns = [column for column in range(n_prompt) if vision[column]]
            for t in range(n_prompt, len(ids)):
                looked = weights[:, t, columns].mean(0)
                if before is None or looked @ before / (looked.norm() * before.norm()) < 0.9:
                    order = sorted(range(len(columns)), key=lambda i: -float(looked[i]))
                    for i in order[int(share * len(columns)) :]:
                        unseen[t, columns[i]] = True
                before = looked
    return logits(model, x), unseen


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize(("deep", "sharp"), [(1, 1), (3, 1), (2, 40)])
def test_stage_two_hides_what_is_not_looked_at(seed, operator, deep, sharp):
    data, model = batch("llama", ["tvvvvvvvvttt"], seed=seed), deepcopy(toy("llama", operator))
    model.model.layers[deep - 1].self_attn.q_proj.weight.mul_(sharp)  # sharp attention moves from step to step
    tokens = torch.randint(4, 64, (1, 6))
    ids = torch.cat([data.inputs["input_ids"], tokens], 1)[0]
    expected, unseen = second_stage(model, ids, data.vision[0], 0.5, deep)
    got = []
    with DyCoke(Schedule({0: 1.0}), visible_share=0.5, hide_from_layer=deep, frame_tokens=2)(model, **data.options):
        cache = model(**data.inputs).past_key_values
        for i in range(6):
            got.append(model(input_ids=tokens[:, i : i + 1], past_key_values=cache).logits[0, -1])
    again = unseen.any(1)[-5:]  # after the first step, where all are hidden
    assert unseen.any(1)[-6] and (again.any() if sharp > 1 else not again.all())
    torch.testing.assert_close(torch.stack(got), expected[-6:].float(), atol=1e-4, rtol=1e-4)
    plain = model(ids[None]).logits[0, -6:]
    assert (plain - torch.stack(got)).abs().max() > 1e-3


def test_stage_two_in_a_ragged_batch_equals_its_rows():
    rows, model = ["tvvvvvvvvttt", "ttvvvvtt", "ttttt"], toy("llama")
    data, tokens = batch("llama", rows), torch.randint(4, 64, (3, 5))

    def run(inputs, options, tokens):
        with DyCoke(Schedule({0: 0.9}), visible_share=0.4, frame_tokens=2)(model, **options):
            out = model(**inputs, position_ids=(inputs["attention_mask"].cumsum(1) - 1).clamp(min=0))
            cache, mask, steps = out.past_key_values, inputs["attention_mask"], []
            for i in range(tokens.shape[1]):
                mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
                ids = mask.sum(1, keepdim=True) - 1
                out = model(
                    input_ids=tokens[:, i : i + 1], attention_mask=mask, position_ids=ids, past_key_values=cache
                )
                steps.append(out.logits[:, -1])
        return torch.stack(steps, 1)

    together = run(data.inputs, data.options, tokens)
    for row in range(3):
        there = data.present[row]
        inputs = {key: x[row : row + 1, there] for key, x in data.inputs.items()}
        options = {key: x[row : row + 1, there] for key, x in data.options.items()}
        torch.testing.assert_close(run(inputs, options, tokens[row : row + 1])[0], together[row], atol=1e-5, rtol=1e-5)


def test_stage_two_generates():
    data, model = batch("llava", ["tiitttt"]), toy("llava")
    with METHODS["dycoke"](Schedule({0: 0.75}), visible_share=0.3, hide_from_layer=2)(model):
        out = model.generate(**data.inputs, max_new_tokens=5, do_sample=False)
        again = model.generate(**data.inputs, max_new_tokens=5, do_sample=False)
    assert torch.equal(out, again) and out.shape[1] == data.present.shape[1] + 5


def test_stage_two_forgets_vision_tokens_that_a_crop_took():
    """What comes at their columns is text, and seen."""
    model = toy("llama")
    long = batch("llama", ["tvvvvvvvvttt"])
    method = DyCoke(Schedule({0: 1.0}), visible_share=0.5, hide_from_layer=2, frame_tokens=2)
    ids = torch.cat([long.inputs["input_ids"][0, :3], torch.tensor([7, 9])])
    vision = torch.tensor([False, True, True])
    expected, _ = second_stage(model, ids, vision, 0.5, 2)
    with method(model, **long.options):
        cache = model(**long.inputs).past_key_values
        cache.crop(-9)
        got = [model(input_ids=ids[None, i : i + 1], past_key_values=cache).logits[0, -1] for i in (3, 4)]
    torch.testing.assert_close(torch.stack(got), expected[-2:].float(), atol=1e-4, rtol=1e-4)
