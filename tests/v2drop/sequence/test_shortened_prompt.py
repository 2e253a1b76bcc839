"""After a drop at layer 0 the first layer's cache is short, so nothing may be counted by it, in any family."""

import pytest
import torch

from tests.support import zoo
from tests.support.cached_decoding import at_last
from tests.support.zoo_models import LAYERS
from tests.support.zoo_words import BYTES
from v2drop import PDrop, Random, Schedule
from v2drop.contract.oracle import oracle_run, positions_of

CLOSE = {"atol": 3e-5, "rtol": 1e-5}
FIRST = Schedule({0: 0.5, 2: 0.2})


def rows(name, *patterns):
    return [pattern.replace("i", "vvvvvvvvvv") if name in zoo.TEXT_ONLY else pattern for pattern in patterns]


@pytest.mark.parametrize("name", zoo.BUILD)
def test_without_position_ids_the_model_goes_on_where_the_prompt_ended(name):
    """By hand, one token at a time: M-RoPE's and PaliGemma's models count by the cache themselves."""
    model, data = zoo.model(name, "eager"), zoo.prompt(name, rows(name, "tittt"))
    tokens = torch.randint(len(BYTES), (1, 3), generator=torch.Generator().manual_seed(0))
    with Random(FIRST)(model, **data.options) as trace:
        out = model(**data.inputs)
        got = [out.logits[:, -1]]
        for step in range(3):
            out = model(input_ids=tokens[:, step : step + 1], past_key_values=out.past_key_values)
            got.append(out.logits[:, -1])
    expected = at_last(oracle_run(model, data, trace.kept, tokens, LAYERS), data)
    torch.testing.assert_close(torch.stack(got, 1), expected, **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", zoo.BUILD)
def test_several_tokens_at_a_time(name, side):
    """Of which one row's first is padding."""
    model, data = zoo.model(name, "eager"), zoo.prompt(name, rows(name, "tittt", "tit"), side)
    tokens = torch.randint(len(BYTES), (2, 3), generator=torch.Generator().manual_seed(0))
    there = torch.tensor([[True, True, True], [False, True, True]])
    ids, mask, length = positions_of(model, data, 3), data.inputs["attention_mask"], data.present.shape[1]
    with Random(FIRST)(model, **data.options) as trace:
        cache = model(**data.inputs, position_ids=ids[..., :length]).past_key_values
        mask = torch.cat([mask, there.long()], 1)
        got = model(input_ids=tokens, attention_mask=mask, position_ids=ids[..., length:], past_key_values=cache).logits
    expected = oracle_run(model, data, trace.kept, tokens, LAYERS, there=there)[:, -3:]
    torch.testing.assert_close(got[there], expected[there], **CLOSE)


@pytest.mark.parametrize("name", ["llama", "qwen2_vl"])
def test_several_tokens_in_more_rows_than_there_are_axes(name):
    model, data = zoo.model(name, "eager"), zoo.prompt(name, rows(name, *["tittt", "tit"] * 2))
    tokens, length = torch.ones(4, 2, dtype=torch.long), data.present.shape[1]
    ids, mask = positions_of(model, data, 2), torch.cat([data.inputs["attention_mask"], tokens], 1)
    with Random(FIRST)(model, **data.options) as trace:
        cache = model(**data.inputs, position_ids=ids[..., :length]).past_key_values
        given = {"attention_mask": mask, "past_key_values": cache}
        with pytest.raises(ValueError, match="position_ids must go on where the tokens so far end"):
            model(input_ids=tokens, position_ids=ids[..., length:] + 1, **given)
        got = model(input_ids=tokens, position_ids=ids[..., length:], **given).logits
    torch.testing.assert_close(got, oracle_run(model, data, trace.kept, tokens, LAYERS)[:, -2:], **CLOSE)


@pytest.mark.parametrize("name", zoo.BUILD)
def test_gaps_are_closed_where_position_ids_are_a_count(name):
    """Places in time, height and width have no gaps to close."""
    model, data = zoo.model(name, "eager"), zoo.prompt(name, rows(name, "titttt", "tit"))
    with PDrop(Schedule({1: 0.5, 3: 0.2}))(model, **data.options) as trace:
        tokens, got = zoo.greedy(model, data, 3)
    ids = "keep" if "_vl" in name else "repack"
    expected = oracle_run(model, data, trace.kept, tokens, LAYERS, ids)[:, data.vision.shape[1] - 1 : -1]
    torch.testing.assert_close(got, expected, **CLOSE)


@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen2_5_vl", "llama"])
def test_generate_does_not_go_on_with_a_cache_that_is_short_from_the_first_layer_on(name):
    """It would begin in the middle of the prompt, for a model with pictures perhaps among their tokens."""
    model, data = zoo.model(name), zoo.prompt(name, rows(name, "titttt"))
    with Random(FIRST)(model, **data.options):
        cache = model(**data.inputs, use_cache=True).past_key_values
        both = torch.cat([data.inputs["input_ids"], torch.ones(1, 2, dtype=torch.long)], 1)
        with pytest.raises(ValueError, match="after a drop at layer 0"):
            model.generate(both, attention_mask=torch.ones_like(both), past_key_values=cache, max_new_tokens=2)


def test_a_fourth_axis_tells_packed_sequences():
    """Transformers reads them from it where there is no mask, and a drop at layer 0 would tear them."""
    model, data = zoo.model("qwen2_vl"), zoo.prompt("qwen2_vl", ["titttt"])
    inputs = {key: value for key, value in data.inputs.items() if key != "attention_mask"}
    places, text = positions_of(model, data, 0), torch.arange(data.vision.shape[1])[None, None]
    with Random(FIRST)(model):
        model(**inputs, position_ids=torch.cat([text, places]))
        with pytest.raises(ValueError, match="position_ids without an attention_mask must ascend by one"):
            model(**inputs, position_ids=torch.cat([text % 9, places]))
