"""Operator norms against the singular values of dense Jacobians in float64, and the laws that they obey."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analysis.theorem import operator_norms as operator_norms_module
from analysis.theorem.operator_norms import ESTIMATORS, operator_norms
from tests.support.dense_jacobians import Dense, alone
from tests.support.float64_decoders import KINDS, MIXED, VOCABULARY, decoder, prompt
from v2drop.contract.toys import FAMILIES, LAYERS, batch, toy

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
ROWS = {"llava": ["titt", "tti"], "llama": ["tvvvvtt", "vvtvvvvvvt"], "qwen2": ["tvvvvtt", "vvtvvvvvvt"]}
CANDIDATES = [5, 40, 9]
COLUMNS = ["sample", "layer", "token", "operator_norm", "lower", "upper", "norm_estimator", "dtype", "output"]
DOUBLE = {"dtype": torch.float64}


OUTPUTS = pytest.mark.parametrize("output", ["hidden", "logits", "logits of 3"])
RUNS = pytest.mark.parametrize(
    ("operator", "dtype", "side"),
    [
        ("eager", torch.float64, "left"),
        ("eager", torch.float32, "right"),
        ("sdpa", torch.float64, "right"),
        ("sdpa", torch.float32, "left"),
    ],
)


@cache
def dense(family, side):
    data = batch(family, ROWS[family], side)
    return data, [Dense(toy(family), alone(data, row)) for row in range(len(ROWS[family]))]


@cache
def reference(family, side, output):
    """Dense norms {(sample, layer, token in the batch): norm} of every token that is not padding."""
    data, rows = dense(family, side)
    found = {}
    for sample, row in enumerate(rows):
        places = data.present[sample].nonzero().flatten().tolist()
        for layer in range(LAYERS):
            jacobian = row.jacobians(layer, output.split()[0])
            jacobian = jacobian[:, CANDIDATES] if "of" in output else jacobian
            norms = np.linalg.svd(jacobian.numpy(), compute_uv=False)[:, 0]
            found |= {(sample, layer, place): norm for place, norm in zip(places, norms, strict=True)}
    return pd.Series(found)


def keyed(frame):
    return frame.set_index(["sample", "layer", "token"])


def norms(*args, **kwargs):
    """As a series by sample, layer and token."""
    return keyed(operator_norms(*args, **kwargs)).operator_norm


def close(got, expected, rtol=1e-10):
    assert list(got.index) == list(expected.index)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * expected.max())


@EVERY_FAMILY
@OUTPUTS
@RUNS
def test_exact_is_the_largest_singular_value_of_the_dense_jacobian(family, output, operator, dtype, side):
    data = batch(family, ROWS[family], side)
    chosen = {"output": output.split()[0], "candidates": CANDIDATES if "of" in output else None, "dtype": dtype}
    frame = operator_norms(toy(family, operator), data.inputs, range(LAYERS), data.present, **chosen)
    assert set(frame.output) == {output} and set(frame.dtype) == {str(dtype).removeprefix("torch.")}
    assert set(frame.norm_estimator) == {"exact"}
    got, expected = keyed(frame).operator_norm, reference(family, side, output)
    assert sorted(got.index) == sorted(expected.index)
    np.testing.assert_allclose(got[expected.index], expected, rtol=1e-5)


@hypothesis_settings(max_examples=12)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 999),
    dim=st.sampled_from([2, 4, 6, 16]),
    length=st.integers(2, 8),
    output=st.sampled_from(["hidden", "logits"]),
)
def test_exact_and_lanczos_are_exact_in_pure_float64(kind, seed, dim, length, output):
    model, inputs = decoder(kind, 3, dim, seed), prompt(1, length, seed)
    plain = Dense(model, inputs)
    jacobians = [plain.jacobians(layer, output).numpy() for layer in range(3)]
    expected = np.concatenate([np.linalg.svd(j, compute_uv=False)[:, 0] for j in jacobians])
    for estimator, rtol in (("exact", 1e-10), ("lanczos", 1e-6)):
        frame = operator_norms(model, inputs, range(3), range(length), output, estimator, tolerance=1e-9, **DOUBLE)
        np.testing.assert_allclose(frame.operator_norm, expected, rtol=rtol)


@EVERY_FAMILY
def test_every_method_agrees_on_real_layers(family):
    data = batch(family, ROWS[family])
    ask = toy(family), data.inputs, [0, 3], data.present & (data.present.cumsum(1) < 3), "logits"
    exact = operator_norms(*ask, estimator="exact", **DOUBLE)
    lanczos = operator_norms(*ask, estimator="lanczos", batch_size=3, **DOUBLE)
    shared = operator_norms(*ask, estimator="shared", subspace_rank=8, **DOUBLE)
    np.testing.assert_allclose(lanczos.operator_norm, exact.operator_norm, rtol=1e-6)
    assert (lanczos.upper - lanczos.lower <= 1e-6 * lanczos.operator_norm).all()
    for frame in (exact, lanczos, shared):
        assert (frame.lower <= exact.operator_norm * (1 + 1e-6)).all()
        assert (frame.upper * (1 + 1e-6) >= exact.operator_norm).all()
    assert (shared.operator_norm == shared.lower).all() and (shared.lower < shared.upper).all()
    for name, frame in zip(ESTIMATORS, (exact, lanczos, shared), strict=True):
        assert list(frame.columns) == COLUMNS and set(frame.norm_estimator) == {name}


@EVERY_FAMILY
def test_the_frame_has_one_row_per_sample_layer_and_token_in_the_batch(family):
    data = batch(family, ROWS[family], "left")
    frame = operator_norms(toy(family), data.inputs, (4, 1), data.present)
    assert list(frame.columns) == COLUMNS
    places = [row.nonzero().flatten().tolist() for row in data.present]
    expected = [(sample, layer, token) for sample in range(2) for layer in (1, 4) for token in places[sample]]
    assert list(keyed(frame).index) == expected
    unread = frame[(frame.layer == 4) & (frame.token < data.present.shape[1] - 1)]
    assert len(unread) and (unread[["operator_norm", "lower", "upper"]] == 0).all(axis=None)


@pytest.mark.parametrize("side", ["left", "right"])
def test_by_default_images_are_measured_but_for_a_placeholder_that_ends_its_row(side):
    data = batch("llava", ["tit", "ti", "ttii"], side)
    frame = operator_norms(toy("llava"), data.inputs, 2)
    expected = data.vision.clone()
    for row in (1, 2):
        expected[row, data.last[row]] = False
    assert list(zip(frame["sample"], frame.token, strict=True)) == [
        tuple(place) for place in expected.nonzero().tolist()
    ]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_logits_norms_grow_with_the_head_and_hidden_ones_do_not(estimator):
    model, bigger = decoder(), decoder()
    bigger.head.weight.mul_(-3)
    for output, candidates, factor in (("logits", None, 3), ("logits", [9, 2], 3), ("hidden", None, 1)):
        ask = prompt(), [1, 2], [0, 3, 5], output, estimator
        got, plain = (norms(each, *ask, candidates=candidates, subspace_rank=2, **DOUBLE) for each in (bigger, model))
        close(got, factor * plain, 1e-6)


def test_norms_of_a_linear_decoder_are_those_of_its_weights_and_do_not_depend_on_the_prompt():
    model = decoder("linear", layers=4)
    last = model.model.layers[-1]
    through = torch.eye(6) + last.down.weight @ last.up.weight
    one = through @ last.out.weight @ last.value.weight / MIXED
    got = norms(model, prompt(seed=1), [2, 3], range(7), **DOUBLE)
    assert got[:6].to_numpy() == pytest.approx(float(torch.linalg.matrix_norm(one, 2)), rel=1e-12)
    assert got.loc[0, 2, 6] == pytest.approx(float(torch.linalg.matrix_norm(through + one, 2)), rel=1e-12)
    assert got.loc[0, 3, 6] == pytest.approx(1, rel=1e-12)
    close(norms(model, prompt(seed=2), [2, 3], range(7), **DOUBLE), got)


def test_the_final_norm_divides_by_the_length_of_what_it_reads():
    model, bigger = (decoder("linear") for _ in range(2))
    for each in (model, bigger):
        each.model.norm = torch.nn.LayerNorm(6, eps=0).double()
    plain = norms(model, prompt(), range(4), range(7), **DOUBLE)
    bigger.model.scale = 4
    close(norms(bigger, prompt(), range(4), range(7), **DOUBLE), plain / 4)


@pytest.mark.parametrize("estimator", ["exact", "lanczos"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_norm_does_not_depend_on_what_else_is_measured(estimator, side):
    data, model = batch("llama", ["ttttt", "ttttttt", "tttttt"], side), decoder()
    data.inputs["input_ids"] %= VOCABULARY
    accurate = {"estimator": estimator, "tolerance": 1e-9, **DOUBLE}
    everything = norms(model, data.inputs, range(4), data.present, **accurate)
    few = norms(model, data.inputs, [0, 2], [4, 3], batch_size=2, **accurate)
    assert len(few) == 12
    close(few, everything[few.index], 1e-8)
    for row in range(3):
        length = int(data.present[row].sum())
        single = norms(model, alone(data, row), 2, range(length), **accurate)
        np.testing.assert_allclose(single, everything[row, 2], rtol=1e-8)


@EVERY_FAMILY
def test_the_side_of_the_padding_does_not_matter(family):
    left, right = (batch(family, ROWS[family], side) for side in ("left", "right"))
    got, expected = (norms(toy(family), data.inputs, range(LAYERS), data.present, **DOUBLE) for data in (left, right))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert not got.index.equals(expected.index)


def test_a_wide_output_is_estimated_and_a_narrow_one_is_exact(monkeypatch):
    data = batch("llama", ROWS["llama"])
    names = []
    for most in (operator_norms_module.EXACT_UP_TO, 8):
        monkeypatch.setattr(operator_norms_module, "EXACT_UP_TO", most)
        for candidates in (None, CANDIDATES):
            settings = {"tokens": [5, 6], "output": "logits", "candidates": candidates}
            names += operator_norms(toy("llama"), data.inputs, [1], **settings).norm_estimator.unique().tolist()
    assert names == ["exact", "exact", "shared", "exact"]
