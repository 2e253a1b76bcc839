"""Quantised weights: measured as the floats that they are, or refused before anything runs; dropping takes them all."""

import numpy as np
import pytest
import torch

from analysis.criteria.scores import score_tokens
from analysis.residual_stream.decoder_inputs import decoder_inputs
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.theorem.operator_norms import operator_norms
from analysis.theorem.variation_impact import variation_impact
from tests.support.quantised_models import EXACT, REFUSED, applied_weights, quantised
from v2drop import FastV, Schedule, V2Drop
from v2drop.contract.toys import FAMILIES, LAYERS, batch, toy

ROWS = {"llava": "titt", "llama": "tvvvvtt", "qwen2": "tvvvvtt"}
MEASURES = {
    "operator_norms": lambda model, inputs, **options: operator_norms(model, inputs, [1], [3, 4], **options),
    "variation_impact": lambda model, inputs, **options: variation_impact(model, inputs, [1], [3, 4], **options),
    "score_tokens": lambda model, inputs, **options: score_tokens(model, inputs, [1], [3, 4], **options),
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the packages


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", EXACT)
def test_frozen_layers_are_the_quantised_model(kind, family):
    model, inputs = quantised(kind, family), batch(family, [ROWS[family]]).inputs
    with differentiable_attention(model), torch.no_grad():
        network, entry = FrozenDecoder(model, torch.float32, "logits"), decoder_inputs(model, inputs)
        states = entry.states
        for layer in network.layers:
            states = layer(states, attention_mask=entry.mask, position_embeddings=entry.angles)
        got, expected, other = (network.logits(states[0]), model(**inputs).logits[0], toy(family)(**inputs).logits[0])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert (expected - other).abs().max() > 1e-3  # the rounding is not lost


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("kind", EXACT)
def test_numbers_are_those_of_plain_layers_that_do_the_same(kind, measure):
    model, inputs = quantised(kind), batch("llava", ["titt"]).inputs
    for dtype in (torch.float32, torch.float64):
        got, expected = (MEASURES[measure](m, inputs, dtype=dtype) for m in (model, applied_weights(kind)))
        numbers = got.select_dtypes("number").columns
        np.testing.assert_allclose(got[numbers], expected[numbers], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_back_is_refused_by_name_before_anything_runs(kind, measure):
    model, inputs = quantised(kind), batch("llava", ["titt"]).inputs
    ran = []
    for handle_at in (model.model, *model.model.language_model.layers):
        handle_at.register_forward_pre_hook(lambda *_: ran.append(1))
    where = r"got a \S+ at (head|layers\.0\.\S+)\. Load the checkpoint without quantisation"
    with pytest.raises(ValueError, match=where):
        MEASURES[measure](model, inputs)
    assert not ran


def test_a_single_quantised_layer_is_found():
    model = quantised("packed integers")
    for name, module in toy("llava").named_modules():
        if type(module) is torch.nn.Linear and "layers.3.mlp.up_proj" not in name:
            model.set_submodule(name, module)
    with pytest.raises(ValueError, match=r"got a tests.support.quantised_models.PackedLinear at layers.3.mlp.up_proj"):
        operator_norms(model, batch("llava", ["titt"]).inputs, [1], [3], output="logits", candidates=[5])


@pytest.mark.parametrize("kind", EXACT)
def test_candidates_are_counted_by_the_words_not_by_the_packed_weights(kind):
    model, inputs = quantised(kind), batch("llava", ["titt"]).inputs
    assert len(operator_norms(model, inputs, [1], [3], "logits", candidates=[63])) == 1
    with pytest.raises(ValueError, match="candidates must be an int from 0 to 63; got 64"):
        operator_norms(model, inputs, [1], [3], "logits", candidates=[64])


@pytest.mark.parametrize("method", [V2Drop, FastV])
@pytest.mark.parametrize("kind", [*EXACT, *REFUSED])
def test_dropping_takes_every_kind(kind, method):
    model, data = quantised(kind), batch("llava", ["titt"])
    with method(Schedule({2: 0.5, 3: 0.25}))(model) as trace:
        model.generate(**data.inputs, max_new_tokens=2, do_sample=False)
    assert trace.lengths == [19, 19, 11, 7, 7] and len(trace.lengths) == LAYERS
