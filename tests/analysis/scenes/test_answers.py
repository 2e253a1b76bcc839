"""Marking of replies in any script; what cannot be marked is refused."""

import pandas as pd
import pytest

from analysis.scenes.answers import is_right, miscount
from analysis.training.evaluate import evaluate


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("東京です", "東京", False),  # one word, as scripts without blanks are written
        ("東京", "東京", True),
        ("大阪", "東京", False),
        ("", "東京", False),
        ("Il est à côté.", "à cote\u0301", False),
        ("Il est à cote\u0301.", "à côte", False),
        ("Un cafe\u0301", "café", True),  # the accent as a letter of its own
        ("STRASSE", "straße", True),
        ("４ of them", "four", True),
        ("naïve", "na ve", False),
        ("3.5", "3", False),
        ("It is 3.5.", "3.5", True),
        ("3.", "3", True),
        ("-5", "5", False),
        ("5", "-5", False),
        ("x=-5", "\u22125", True),
        ("- 5", "5", True),  # an item of a list
        ("2-3", "3", True),
        ("top-left", "top left", True),
    ],
)
def test_words_in_any_script(reply, answer, right):
    assert is_right(reply, answer) is right


@pytest.mark.parametrize("answer", ["", " ", "?!", "_"])
def test_an_answer_without_words_is_refused(answer):
    with pytest.raises(ValueError, match="an answer must have a letter or a digit; got"):
        is_right("", answer)


@pytest.mark.parametrize(("reply", "answer"), [(4, "4"), ("4", 4), (None, "4"), ("4", float("nan"))])
def test_what_is_no_text_is_refused(reply, answer, without_type_checker):
    with pytest.raises(ValueError, match="a reply or answer must be a text; got"):
        is_right(reply, answer)


def test_a_count_is_read_in_any_digits():
    frame = pd.DataFrame({"kind": "how-many", "reply": ["５ of them", "no"], "answer": "four"})
    assert miscount(frame).too_many.tolist() == [1.0]


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None])
def test_an_evaluation_has_questions(embedded, n, without_type_checker):
    with pytest.raises(ValueError, match="n must be an int of 2 or more; got"):
        evaluate(embedded, n)
