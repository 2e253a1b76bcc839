"""A method from outside stands beside the recorded answers of all others, asked the same questions."""

import pytest

from analysis.answers import sweep
from tests.support.own_methods import nothing_added, written  # noqa: F401 - a fixture
from v2drop import METHODS
from v2drop.methods.from_file import add_methods

pytestmark = pytest.mark.usefixtures("nothing_added")


def test_a_method_that_was_added_is_asked_the_questions_of_the_others(embedded, tmp_path, monkeypatch):
    recorded = sweep.load_answers("methods")
    monkeypatch.setattr(sweep, "load_answers", lambda study: recorded[recorded.question < 4])
    few = sweep.STUDIES["methods"]._replace(n_questions=4)
    monkeypatch.setattr(sweep, "STUDIES", {**sweep.STUDIES, "methods": few})
    add_methods(written(tmp_path / "mine.py"))
    frame = sweep.study_answers(embedded, "methods")
    mine, others = frame[frame.method == "my_method"], frame[frame.method != "my_method"]
    assert others.equals(recorded[recorded.question < 4].reset_index(drop=True))
    budgets = sorted(others[others.method == "fastv"].budget.unique())
    assert sorted(mine.budget.unique()) == budgets and mine.groupby("budget").question.nunique().tolist() == [4, 4, 4]
    fastv = others[others.method == "fastv"].drop_duplicates("question").set_index("question")
    assert mine[mine.budget == budgets[0]].set_index("question").answer.to_dict() == fastv.answer.to_dict()


def test_without_one_the_recorded_answers_are_as_they_are(embedded):
    assert sweep.study_answers(embedded, "methods").equals(sweep.load_answers("methods"))


def test_a_study_that_asks_not_all_methods_has_none_more(embedded, tmp_path):
    add_methods(written(tmp_path / "mine.py"))
    assert "my_method" in METHODS
    assert sweep.study_answers(embedded, "positions").equals(sweep.load_answers("positions"))


def test_load_adds_the_methods_that_the_environment_names(tmp_path, monkeypatch):
    from analysis import EMBEDDED, load

    monkeypatch.setenv("V2DROP_METHODS", str(written(tmp_path / "mine.py")))
    load(EMBEDDED)
    assert "my_method" not in METHODS  # which a checkpoint that is named does not ask for
    load()
    assert "my_method" in METHODS
