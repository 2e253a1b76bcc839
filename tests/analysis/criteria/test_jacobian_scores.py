"""Dropping by the theorem's own product, from the questions to the answers, on a tiny model."""

from functools import partial

import numpy as np
import pytest
import torch

from analysis.comparison.accuracy import accuracy
from analysis.comparison.layer_choices import accuracy_over_layers, best_and_worst
from analysis.comparison.pairs import paired_difference
from analysis.criteria.dropping_by_table import method_from_column
from analysis.criteria.jacobian_scores import scored_with_jacobians
from analysis.criteria.scores import scored
from analysis.models.loaded import Loaded
from analysis.scenes.questions import sample
from analysis.theorem.variation_impact import variation_impact
from tests.support import zoo
from tests.support.dense_jacobians import Dense
from v2drop import Schedule, V2Drop

LAYERS, COLUMNS = [1, 3], ("variation_l2", "operator_norm", "predicted_impact", "random")


@pytest.fixture(scope="module")
def loaded():
    return Loaded("llava", zoo.model("llava"), zoo.processor("llava"))


@pytest.fixture(scope="module")
def questions():
    return sample(3)


@pytest.fixture(scope="module")
def table(loaded, questions):
    return scored_with_jacobians(loaded, questions, LAYERS)


def given(loaded, questions):
    return loaded.inputs([scene.image for scene, _ in questions], [question.text for _, question in questions])


def test_it_is_the_table_of_scores_with_further_columns(loaded, questions, table):
    plain = scored(loaded, questions, LAYERS)
    assert table[plain.columns].equals(plain)
    assert not table[["operator_norm", "predicted_impact"]].isna().any(axis=None) and set(table.output) == {"hidden"}


def test_the_norms_are_those_of_dense_jacobians(loaded, questions, table):
    """Of each question alone, in float64, by reverse-mode derivatives of a plain function and all singular values."""
    for number, pair in enumerate(questions):
        inputs = given(loaded, [pair])
        places, dense = loaded.vision_positions(inputs)[0], Dense(loaded.model, inputs)
        for layer in LAYERS:
            rows = table[(table["sample"] == number) & (table.layer == layer)].sort_values("vision_index")
            update = (dense.states[layer + 1] - dense.states[layer])[0, places].norm(dim=1)
            norms = dense.norms(layer)[places]
            np.testing.assert_allclose(rows.operator_norm, norms, rtol=1e-3)
            np.testing.assert_allclose(rows.predicted_impact, norms * update, rtol=1e-3)


def test_the_product_is_the_theorems_right_side(loaded, questions, table):
    measured = variation_impact(loaded.model, given(loaded, questions), LAYERS, taylor_tokens=0)
    both = table.merge(measured, on=["sample", "layer", "token"], validate="one_to_one")
    assert len(both) == len(table) == len(measured)
    np.testing.assert_allclose(both.predicted_impact_x, both.predicted_impact_y, rtol=1e-4)


def test_a_drop_by_a_column_keeps_its_largest(loaded, questions, table):
    inputs, left = given(loaded, questions), 5
    first = [places[0] for places in loaded.vision_positions(inputs)]
    kept = {}
    for column in COLUMNS:
        with method_from_column(table, column, Schedule({4: left}))(range(len(questions)))(loaded.model) as trace:
            loaded.model(**inputs)
        kept[column] = trace.kept[4]
        for number, positions in enumerate(trace.kept[4].tolist()):
            rows = table[(table["sample"] == number) & (table.layer == 3)]
            assert {p - first[number] for p in positions} == set(rows.nlargest(left, column).vision_index)
    assert not torch.equal(kept["operator_norm"], kept["variation_l2"])


def test_accuracy_takes_every_column(loaded, questions, table):
    """What a notebook does: one drop, by each column; by variation it is V2Drop."""
    schedule = Schedule({2: 6})
    methods = {name: method_from_column(table, name, schedule) for name in COLUMNS} | {"own": V2Drop(schedule)}
    found = accuracy(loaded, questions, methods, batch_size=2, max_new_tokens=2).set_index(["method", "question"])
    assert len(found) == 5 * len(questions) and found.average_tokens.nunique() == 1
    assert found.loc["variation_l2"].reply.tolist() == found.loc["own"].reply.tolist()
    np.testing.assert_allclose(found.loc["variation_l2"].log_probability, found.loc["own"].log_probability, atol=1e-4)


def test_one_drop_at_every_depth_is_a_choice_of_layers(loaded, questions, table):
    """At each depth the drop has the scores of the layer before it, and the budget of all others."""
    n = len(loaded.vision_positions(given(loaded, questions))[0])
    makers = {name: partial(method_from_column, table, name) for name in COLUMNS}
    depths = [(layer + 1,) for layer in LAYERS]
    found = accuracy_over_layers(loaded, questions, makers, 0.9 * n, depths, max_new_tokens=1)
    dropped = found[found.layers != "none"]
    assert len(dropped) == len(COLUMNS) * len(depths) * len(questions)
    assert ((dropped.average_tokens - dropped.budget).abs() <= 1).all()
    gain = paired_difference(dropped, "random", ["layers", "budget"], "log_probability")
    assert set(best_and_worst(gain).method) == set(COLUMNS) - {"random"}


def test_the_output_may_be_the_logits_of_some_words(loaded, questions):
    table = scored_with_jacobians(loaded, questions[:1], [3], output="logits", candidates=[5, 9])
    dense = Dense(loaded.model, given(loaded, questions[:1]))
    places = loaded.vision_positions(given(loaded, questions[:1]))[0]
    words = dense.jacobians(3, "logits")[places][:, [5, 9]]
    np.testing.assert_allclose(table.operator_norm, torch.linalg.svdvals(words)[:, 0], rtol=1e-3)
    assert table.output.str.startswith("logits").all()
