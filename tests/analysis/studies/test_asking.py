"""The cell of most ablations against `accuracy` itself, and schedules told in every way."""

import pandas as pd
import pytest

from analysis.comparison.accuracy import accuracy
from analysis.studies import ask, asking
from analysis.studies.asking import method_of
from tests.support.text_models import text_model
from v2drop import Composed, Random, Schedule, V2Drop

NO_SCHEDULE = {"average": None, "layers": None, "depths": None, "left": None}


@pytest.fixture(autouse=True)
def subjects(embedded, monkeypatch):
    models = {"embedded": embedded, "text": text_model()}
    monkeypatch.setattr(asking, "model_of", models.__getitem__)


def test_a_slice_of_the_answers_that_accuracy_gives(embedded):
    schedule = Schedule.for_average(72, (1, 6, 8), 144, 12)
    questions = asking.questions_of("embedded", 6, 5)
    told = {"average": 0.5, "depths": [1 / 12, 1 / 2, 2 / 3], "seed": 5, "draws": 2}
    for name, method in (("random", Random(schedule)), ("v2drop", V2Drop(schedule))):
        whole = accuracy(embedded, questions, {name: method}, draws=2)
        found = ask("embedded", name, first=2, n=4, **told)
        wanted = whole[whole.question >= 2].drop(columns="method").reset_index(drop=True)
        pd.testing.assert_frame_equal(found.drop(columns="schedule"), wanted, rtol=1e-4)
        assert set(found.schedule) == {"1: 91; 6: 58; 8: 37"}
    assert set(ask("embedded", "nothing dropped", n=2).average_tokens) == {144.0}


@pytest.mark.parametrize(
    ("told", "schedule"),
    [
        ({"average": 72, "layers": [1, 6, 8]}, Schedule.for_average(72, (1, 6, 8), 144, 12)),
        ({"average": 0.5, "depths": [0.25]}, Schedule.for_average(72, (3,), 144, 12)),
        ({"average": 0.5}, V2Drop.for_average(72, 144, 12).schedule),
        ({"left": {"1": 48, "6": 0}}, Schedule({1: 48, 6: 0})),
        ({"left": {"1": 0.5}}, Schedule({1: 0.5})),
    ],
)
def test_a_schedule_is_told_in_several_ways(embedded, told, schedule):
    questions = asking.questions_of("embedded", 1, 5)
    assert method_of(embedded, questions, "v2drop", {"metric": "l1"}, **NO_SCHEDULE | told) == V2Drop(schedule, "l1")


def test_methods_before_the_language_model_have_their_own_layer(embedded):
    questions = asking.questions_of("embedded", 1, 5)
    found = method_of(embedded, questions, "downsample", {}, **NO_SCHEDULE | {"average": 1 / 3})
    assert found.schedule == Schedule({0: 48})


@pytest.mark.parametrize("where", [{"depths": [0.25]}, {"layers": [1]}, {}], ids=str)
def test_texts_of_any_length_have_one_average_share(where):
    loaded = text_model()
    drop = {"average": 0.5} | where
    schedule = method_of(loaded, [], "v2drop", {}, **NO_SCHEDULE | drop).schedule
    assert all(isinstance(share, float) for share in schedule.left.values())
    for n_tokens in (60, 97, 140):
        assert schedule.average(n_tokens, loaded.n_layers) == pytest.approx(n_tokens / 2, abs=1)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"average": 72, "left": {"1": 3}},
        {"average": 72, "layers": [1], "depths": [0.5]},
        {"left": {"1": 3}, "layers": [1]},
        {"average": 72, "depths": [1.5]},
        {"average": 72, "layers": [1], "options": {"metric": "l3"}},
        {"average": 72, "layers": [1], "first": -1},
    ],
)
def test_wrong_schedules_and_options_are_refused(told):
    with pytest.raises(ValueError, match="needs average|must be"):
        ask("embedded", "v2drop", **told)


@pytest.mark.parametrize("method", ["v3drop", {"1": "v3drop"}])
def test_an_unknown_method_is_refused(method):
    with pytest.raises(ValueError, match="method must be"):
        ask("embedded", method, average=72, layers=[1])


def test_methods_are_composed_by_layer(embedded):
    questions = asking.questions_of("embedded", 1, 5)
    told = NO_SCHEDULE | {"average": 72, "layers": [1, 6, 8]}
    found = method_of(embedded, questions, {"1": "v2drop", "6": "random"}, {"positions": [2, 3]}, **told)
    parts = {1: V2Drop, 6: Random}
    assert found == Composed(Schedule.for_average(72, (1, 6, 8), 144, 12), parts, positions=(2, 3))
    with pytest.raises(ValueError, match="need layers, depths or left"):
        ask("embedded", {"1": "v2drop"}, average=72)
