"""Calls that are no forward pass of the model: they change neither what is dropped later nor the trace."""

import pytest
import torch

from v2drop import V2Drop
from v2drop.budgets.schedule import Schedule
from v2drop.contract.toys import LAYERS, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})


def test_placeholders_of_a_call_that_failed_are_not_used_by_a_later_call_of_the_decoder():
    data, model = batch("llava", ["titt"]), toy("llava")
    decoder = model.model.language_model
    embeddings = decoder.get_input_embeddings()(data.inputs["input_ids"])
    with V2Drop(HALF)(model):
        with pytest.raises((RuntimeError, ValueError)):
            model(**data.inputs | {"pixel_values": data.inputs["pixel_values"][..., :-1]})
        with pytest.raises(ValueError, match="with inputs_embeds the image tokens cannot be told from text"):
            decoder(inputs_embeds=embeddings)


def test_placeholders_of_a_call_are_used_by_no_later_call_of_the_decoder():
    data, model = batch("llava", ["titt"]), toy("llava")
    with V2Drop(HALF)(model):
        model(**data.inputs)
        with pytest.raises(ValueError, match="with inputs_embeds the image tokens cannot be told from text"):
            model.model.language_model(inputs_embeds=torch.zeros(*data.inputs["input_ids"].shape, 64))


@pytest.mark.parametrize("cached", [True, False])
def test_a_layer_called_by_itself_leaves_trace_and_cache_as_they_are(cached):
    data, model = batch("llava", ["titt"]), toy("llava")
    decoder = model.model.language_model
    with V2Drop(HALF)(model) as trace:
        out = model(**data.inputs)
        before = list(trace.lengths), trace.average_tokens, trace.kept[3].tolist(), list(trace.prompt_tokens)
        states = torch.randn(1, 5, decoder.config.hidden_size)
        angles = decoder.rotary_emb(states, torch.arange(5)[None])
        other = type(out.past_key_values)() if cached else None
        alone = decoder.layers[0](states, position_embeddings=angles, attention_mask=None, past_key_values=other)
        assert len(trace.lengths) == LAYERS
        assert before == (list(trace.lengths), trace.average_tokens, trace.kept[3].tolist(), list(trace.prompt_tokens))
        step = model(input_ids=torch.tensor([[1]]), past_key_values=out.past_key_values)
        assert step.logits.isfinite().all()
    plain = decoder.layers[0](states, position_embeddings=angles, attention_mask=None)
    assert torch.equal(torch.as_tensor(alone), torch.as_tensor(plain))
