"""Layers as functions of hidden states alone: where a family's are, they are the model; where not, it is said."""

import pytest
import torch

from analysis.residual_stream.decoder_inputs import decoder_inputs
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from tests.support import zoo
from tests.support.stream_cases import REFUSED


@pytest.mark.parametrize("name", zoo.BUILD)
def test_layers_after_one_another_are_the_model(name):
    model = zoo.model(name, "eager")
    data = zoo.prompt(name, ["tvvvvvvvtt" if name in zoo.TEXT_ONLY else "tiitt" if name != "video_llava" else "tvtt"])

    def run():
        network, entry = FrozenDecoder(model, torch.float32, "logits"), decoder_inputs(model, data.inputs)
        states = entry.states
        for layer in network.layers:
            states = layer(states, attention_mask=entry.mask, position_embeddings=entry.angles)
        return network.logits(states[0])

    with differentiable_attention(model):
        if name in REFUSED:
            with pytest.raises(ValueError, match=REFUSED[name]):
                run()
        else:
            torch.testing.assert_close(run(), model(**data.inputs).logits[0], atol=1e-5, rtol=1e-5)
