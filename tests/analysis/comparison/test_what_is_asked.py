"""Questions as users have them: read once, without an answer, about pictures of several sizes; and budgets of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import analysis
from v2drop import Schedule, V2Drop

DROP = Schedule({1: 30})
METHODS = {"v2drop": V2Drop(DROP)}

pytestmark = pytest.mark.usefixtures("without_type_checker")

ASKING = {
    "accuracy": lambda m, q: analysis.accuracy(m, q, METHODS),
    "accuracy_over_budgets": lambda m, q: analysis.accuracy_over_budgets(m, q, {"v2drop": V2Drop}, [72]),
    "accuracy_over_layers": lambda m, q: analysis.accuracy_over_layers(
        m, q, {"v2drop": V2Drop}, 72, ((1, 2) for _ in "a")
    ),
    "accuracy_at_averages": lambda m, q: analysis.accuracy_at_averages(m, q, [72], (name for name in ["v2drop"])),
    "kept_at_end": lambda m, q: analysis.kept_at_end(m, q, METHODS),
    "kept_at_layer": lambda m, q: analysis.kept_at_layer(m, q, METHODS, 1),
    "kept_on_objects": lambda m, q: analysis.kept_on_objects(m, q, METHODS, 1),
    "scored": lambda m, q: analysis.scored(m, q, [0]),
    "token_labels": lambda m, q: analysis.token_labels(q, 144),
    "object_third": lambda m, q: analysis.object_third(q),
    "content_position_table": lambda m, q: analysis.content_position_table(m, q, [0], 6, (n for n in ["key_norm"])),
    "with_enough_tokens": lambda m, q: pd.DataFrame(analysis.with_enough_tokens(m, q)),
    "relative_time": lambda m, q: analysis.relative_time(m, q, METHODS, 1)[["method", "repeat"]],
}


@pytest.mark.parametrize("name", ASKING)
def test_questions_may_be_given_once(name, embedded):
    """A generator or zip was read twice, and the second time "got" itself for nothing."""
    scenes, questions = zip(*analysis.sample(2), strict=True)
    found = ASKING[name](embedded, zip(scenes, questions, strict=True))
    pd.testing.assert_frame_equal(found, ASKING[name](embedded, list(zip(scenes, questions, strict=True))))


def own(**question):
    """A user's own objects in place of a scene and a question."""
    return [(SimpleNamespace(image=analysis.sample(1)[0][0].image), SimpleNamespace(text="what digit", **question))]


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("accuracy", "answer, kind"),
        ("accuracy_over_budgets", "answer, kind"),
        ("accuracy_over_layers", "answer, kind"),
        ("kept_on_objects", "objects, relevant"),
        ("token_labels", "objects, relevant"),
        ("object_third", "relevant, kind"),
        ("scored", "kind"),
    ],
)
def test_what_a_question_lacks_is_named(name, lacking, embedded):
    with pytest.raises(ValueError, match=f"every question must have .*; question 0, 'what digit', has no {lacking}"):
        ASKING[name](embedded, own())


def test_a_picture_of_ones_own_is_shifted(embedded):
    """It needs no digits, but to be a square array."""
    found = ASKING["content_position_table"](embedded, own(kind="what"))
    assert set(found.part) == {"content", "position", "rest"}
    scene, question = own(kind="what")[0]
    for wrong, said in (("picture.png", "got str"), (scene.image[:48], r"got \[48, 96, 3\]")):
        with pytest.raises(ValueError, match=f"a picture that is shifted must be .*; {said}"):
            analysis.rankings_under_shifts(embedded, SimpleNamespace(image=wrong), question, [0], 6)


@pytest.mark.parametrize("name", ["accuracy_over_budgets", "accuracy_over_layers", "accuracy_at_averages"])
def test_one_budget_for_prompts_of_several_lengths_is_refused(name, embedded):
    """The first prompt's number of tokens stood for all: the others ran at twice the budget that the frame names."""
    one = own(answer="4", kind="what")[0]
    two = (SimpleNamespace(image=[one[0].image] * 2), one[1])
    with pytest.raises(ValueError, match="got 144 in that of question 0, 288 in that of question 2"):
        ASKING[name](embedded, [one, one, two])


@pytest.mark.parametrize("budgets", [[], [48, 72, 48.0]], ids=repr)
def test_budgets_are_different_ones(budgets, embedded):
    for call, name in (
        (lambda: analysis.accuracy_over_budgets(embedded, analysis.sample(1), {"a": V2Drop}, budgets), "budgets"),
        (lambda: analysis.accuracy_at_averages(embedded, analysis.sample(1), budgets, ["random"]), "averages"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be different numbers, one or more; got"):
            call()


def test_the_model_itself_keeps_its_name(embedded):
    with pytest.raises(ValueError, match="makers must not hold 'nothing dropped', which is the model itself"):
        analysis.accuracy_over_budgets(embedded, analysis.sample(1), {"nothing dropped": V2Drop}, [144])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([np.nan], [1], 144, 12), "shares"),
        (([2], [1], 144, 12), "shares"),
        (([0.5], [12], 144, 12), "layers"),
        (([0.5], [1.5], 144, 12), "layers"),
        (([0.5], [1], 144.0, 12), "n_tokens"),
        (([0.5], [1], 144, None), "n_layers"),
    ],
)
def test_what_has_no_budgets_is_said(given, said):
    assert analysis.reachable_budgets(0.5, 1, 144, 12) == [72]
    with pytest.raises(ValueError, match=f"{said} must be"):
        analysis.reachable_budgets(*given)
