"""Measuring leaves a model as it was, and what cannot be measured is refused with a message that says why."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from analysis.theorem.operator_norms import ESTIMATORS, Estimator, operator_norms
from tests.support.float64_decoders import decoder, prompt
from tests.support.left_behind import IMAGES, TEXT, assert_unchanged, everything, used
from v2drop import Schedule, V2Drop
from v2drop.contract.toys import FAMILIES, LAYERS, batch, toy

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@EVERY_FAMILY
def test_nothing_is_left_on_the_model(family, operator, estimator):
    model, data = used(family, operator)
    before = everything(model)
    operator_norms(model, data.inputs, [2], [9], estimator=estimator, tolerance=1e-2, subspace_rank=2, probes=1)
    assert_unchanged(model, before)


def test_another_attention_operator_is_put_back_and_does_not_matter():
    model, _ = used("llava")
    expected = operator_norms(model, IMAGES.inputs, [2])
    config = model.model.language_model.config
    config._attn_implementation = "flash_attention_2"  # the kernels are not installed: any use of them fails
    with pytest.raises((ImportError, NotImplementedError, AttributeError, KeyError, TypeError)):
        model(**IMAGES.inputs)
    before = everything(model)
    got = operator_norms(model, IMAGES.inputs, [2])
    assert config._attn_implementation == "flash_attention_2"
    assert_unchanged(model, before)
    np.testing.assert_array_equal(got.operator_norm, expected.operator_norm)


@pytest.mark.parametrize("where", ["FrozenDecoder", "Linearised", "exact"])
def test_nothing_is_left_after_an_error_between_the_passes(where, monkeypatch):
    model, _ = used("llava")
    model.model.language_model.config._attn_implementation = "flash_attention_2"
    before = everything(model)

    def explode(*_, **__):
        raise RuntimeError("Boom")

    monkeypatch.setattr(f"analysis.theorem.operator_norms.{where}", explode)
    with pytest.raises(RuntimeError, match="Boom"):
        operator_norms(model, IMAGES.inputs, 2)
    assert_unchanged(model, before)


@EVERY_FAMILY
def test_nothing_is_left_after_an_error_inside_a_layer(family):
    model, data = used(family)
    before = everything(model)
    layers = getattr(model.model, "language_model", model.model).layers

    def explode(*_):
        raise RuntimeError("Boom")

    handle = layers[2].register_forward_pre_hook(explode)
    try:
        with pytest.raises(RuntimeError, match="Boom"):
            operator_norms(model, data.inputs, 2, [9])
    finally:
        handle.remove()
    assert_unchanged(model, before)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parameters_that_want_gradients_get_none_and_change_nothing(estimator):
    model = decoder().requires_grad_(True)
    got, expected = (
        operator_norms(m, prompt(), 1, [0, 3], "logits", estimator, subspace_rank=2) for m in (model, decoder())
    )
    np.testing.assert_array_equal(got.operator_norm, expected.operator_norm)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@EVERY_FAMILY
@pytest.mark.parametrize("output", ["hidden", "logits"])
def test_a_bfloat16_model_is_measured_in_float32(family, output):
    model, data = used(family)
    model.bfloat16()
    before = everything(model)
    got = operator_norms(model, data.inputs, [1, 3], [8, 9], output)
    assert_unchanged(model, before)
    assert set(got.dtype) == {"float32"} and np.isfinite(got.operator_norm).all()
    expected = operator_norms(model.float(), data.inputs, [1, 3], [8, 9], output)
    np.testing.assert_allclose(got.operator_norm, expected.operator_norm, rtol=0.05)


ASK = {"layers": 2, "tokens": [9]}
WRONG = {
    "a dtype without digits": ({"dtype": torch.bfloat16}, r"float32 or torch.float64.*got torch.bfloat16"),
    "an unknown output": ({"output": "loss"}, r"output must be one of 'hidden', 'logits'; got 'loss'"),
    "candidates of hidden states": ({"candidates": [1]}, r'token ids.*output="logits"'),
    "no candidate": (
        {"output": "logits", "candidates": []},
        r"candidates must be different ints from 0 to 63, at least one; got \[\]",
    ),
    "a candidate too far": (
        {"output": "logits", "candidates": [3, 64]},
        r"candidates must be an int from 0 to 63; got 64",
    ),
    "a candidate below": ({"output": "logits", "candidates": [-1]}, r"candidates must be an int from 0 to 63; got -1"),
    "a layer too far": ({"layers": LAYERS}, r"layers must be an int from 0 to 4; got 5"),
    "a layer below": ({"layers": [3, -1]}, r"layers must be an int from 0 to 4; got -1"),
    "no layer": ({"layers": []}, r"layers must be different ints from 0 to 4, at least one; got \[\]"),
    "a token too far": ({"tokens": [1, 10]}, r"tokens must be positions in \[0, 9\].*got \[1, 10\]"),
    "a token below": ({"tokens": [-1]}, r"tokens must be positions in \[0, 9\].*got \[-1\]"),
    "no token": ({"tokens": []}, r"at least one token to measure; tokens= named none"),
    "no token in a mask": ({"tokens": torch.zeros(2, 10).bool()}, r"at least one token to measure"),
    "a mask of another shape": ({"tokens": torch.ones(1, 10).bool()}, r"BoolTensor \[2, 10\]; got \[1, 10\]"),
    "padding": ({"tokens": [5, 1]}, r"must not be padding; got position 1, .* in row 0"),
    "padding in a mask": ({"tokens": torch.ones(2, 10).bool()}, r"must not be padding; got position 0, .* row 0"),
    "vision tokens of text": ({"tokens": None}, r"not known; pass tokens="),
    "an unknown estimator": ({"estimator": "svd"}, r"estimator must be one of 'exact', 'lanczos', 'shared'; got 'svd'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_measured_is_refused(case):
    wrong, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        operator_norms(toy("llama"), TEXT.inputs, **ASK | wrong)


@pytest.mark.parametrize("name", ["batch_size", "subspace_rank", "iterations", "probes"])
def test_an_estimator_counts_from_one(name):
    with pytest.raises(ValueError, match=f"{name} must be an int of 1 or more; got 0"):
        Estimator(**{name: 0})
    with pytest.raises(ValueError, match=f"{name} must be an int of 1 or more; got -2"):
        operator_norms(toy("llama"), TEXT.inputs, **ASK, **{name: -2})
    assert getattr(Estimator(**{name: 1}), name) == 1


@pytest.mark.parametrize("name", ["tolerance", "confidence"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_an_estimators_shares_lie_between_zero_and_one(name, value):
    with pytest.raises(ValueError, match=f"{name} must (lie between|be a finite number from) 0 .*; got {value}"):
        Estimator(**{name: value})


def test_images_that_are_not_there_or_not_known_are_refused():
    model, text = toy("llava"), batch("llava", ["tttt"])
    with pytest.raises(ValueError, match="at least one token to measure.*no row has a vision token to drop"):
        operator_norms(model, text.inputs, 2)
    embedded = {"inputs_embeds": model.get_input_embeddings()(text.inputs["input_ids"])}
    with pytest.raises(ValueError, match="not known; pass tokens="):
        operator_norms(model, embedded, 2)
    assert len(operator_norms(model, embedded, 2, [1, 2])) == 2


def test_a_model_that_trains_or_drops_or_has_no_head_is_refused():
    model, schedule = deepcopy(toy("llama")), Schedule({2: 2})
    with pytest.raises(ValueError, match=r"evaluation mode.*model\.eval\(\)"):
        operator_norms(model.train(), TEXT.inputs, **ASK)
    model.eval()
    with V2Drop(schedule)(model, **TEXT.options), pytest.raises(ValueError, match="leave the dropping `with` first"):
        operator_norms(model, TEXT.inputs, **ASK)
    assert len(operator_norms(model, TEXT.inputs, **ASK)) == 2
    headless = decoder()
    headless.get_output_embeddings = lambda: None
    with pytest.raises(ValueError, match="no language-model head.*output='hidden'"):
        operator_norms(headless, prompt(), 2, [1], "logits")
    assert len(operator_norms(headless, prompt(), 2, [1])) == 1
