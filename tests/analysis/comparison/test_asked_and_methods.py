"""What is asked by which methods: nothing, or something else, is named before a model runs."""

import numpy as np
import pandas as pd
import pytest

import analysis
from v2drop import Random, Schedule, V2Drop

DROP = Schedule({1: 30})

pytestmark = pytest.mark.usefixtures("without_type_checker")

QUESTIONS = [[], None, "what", {}, [1], [("a", "b")], analysis.sample(0)]


@pytest.mark.parametrize("asked", QUESTIONS, ids=repr)
def test_nothing_to_ask_is_said(asked, embedded):
    methods, makers = {"v2drop": V2Drop(DROP)}, {"v2drop": V2Drop}
    calls = [
        lambda: analysis.accuracy(embedded, asked, methods),
        lambda: analysis.accuracy_over_budgets(embedded, asked, makers, [72]),
        lambda: analysis.accuracy_over_layers(embedded, asked, makers, [72], [(1, 2)]),
        lambda: analysis.accuracy_at_averages(embedded, asked, [72]),
        lambda: analysis.kept_at_end(embedded, asked, methods),
        lambda: analysis.kept_at_layer(embedded, asked, methods, 1),
        lambda: analysis.kept_on_objects(embedded, asked, methods, 1),
        lambda: analysis.scored(embedded, asked),
        lambda: analysis.scored_with_jacobians(embedded, asked, [0]),
        lambda: analysis.content_position_table(embedded, asked, [0]),
        lambda: analysis.relative_time(embedded, asked, methods, 1),
        lambda: analysis.token_labels(asked, 144),
        lambda: analysis.object_third(asked),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"questions must be (a list of )?pairs \(scene, question\).*; got"):
            call()


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({}, "methods must be a dictionary of methods by name, one or more; got {}"),
        (V2Drop(DROP), "methods must be a dictionary of methods by name"),
        ([V2Drop(DROP)], "methods must be a dictionary of methods by name"),
        ({"a": V2Drop}, r"methods\['a'\] must be a method.*; got the class V2Drop. Make a method of it"),
        ({"a": DROP}, r"methods\['a'\] must be a method.*; got Schedule"),
        ({"a": "v2drop"}, r"methods\['a'\] must be a method.*; got 'v2drop'"),
    ],
)
def test_what_is_no_method_is_named(methods, said, embedded):
    asked = analysis.sample(1)
    at_layer = lambda *given: analysis.kept_at_layer(*given, 1)  # noqa: E731
    for call in (analysis.accuracy, analysis.kept_at_end, analysis.relative_time, at_layer):
        with pytest.raises(ValueError, match=said):
            call(embedded, asked, methods)


def test_what_makes_no_method_is_named(embedded):
    asked = analysis.sample(1)
    with pytest.raises(ValueError, match="must return a method for its batch; got 'v2drop'"):
        analysis.accuracy(embedded, asked, {"a": lambda numbers: "v2drop"})
    with pytest.raises(ValueError, match=r"methods\['whole'\] must be a method; got None"):
        analysis.kept_at_end(embedded, asked, {"whole": None})
    for makers, said in (
        ({"a": Random(DROP)}, r"makers\['a'\] must make a method of a schedule"),
        ({}, "makers must be"),
    ):
        with pytest.raises(ValueError, match=said):
            analysis.accuracy_over_budgets(embedded, asked, makers, [72])


def test_one_budget_is_a_list_of_one(embedded):
    asked = analysis.sample(2)
    found = analysis.accuracy_over_budgets(embedded, asked, {"random": Random}, 72)
    pd.testing.assert_frame_equal(found, analysis.accuracy_over_budgets(embedded, asked, {"random": Random}, [72]))
    assert set(found.budget) == {144, 72}


@pytest.mark.parametrize("wrong", [np.nan, -1, "72", ["72"], [None], True])
def test_what_is_no_budget_is_said(wrong, embedded):
    with pytest.raises(ValueError, match="(each of )?budgets must be .*; got"):
        analysis.accuracy_over_budgets(embedded, analysis.sample(1), {"random": Random}, wrong)


def test_a_layer_without_a_drop_is_named(embedded):
    with pytest.raises(ValueError, match=r"layer must be one at which v2drop drops, \[1\]; got 3"):
        analysis.kept_at_layer(embedded, analysis.sample(1), {"v2drop": V2Drop(DROP)}, 3)
