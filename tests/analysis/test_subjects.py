"""The models that studies compare: what they are asked, where in them one looks, and their frames side by side."""

import numpy as np
import pandas as pd
import pytest

from analysis import SUBJECTS, side_by_side
from analysis.confirmation import confirmatory_seed
from analysis.models.text import LoadedText
from tests.support.text_models import text_model


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_is_asked_questions_that_do_not_depend_on_how_many(name):
    few, more = ([q.text for _, q in SUBJECTS[name].questions(n)] for n in (2, 5))
    assert len(set(more)) > 2 and few == more[:2]
    drawn = SUBJECTS[name].sample(2, confirmatory_seed(SUBJECTS[name].notebook))
    assert [question.text for _, question in drawn] == few


def test_the_six_layers_lie_at_the_same_depths_of_all_models(embedded):
    layers = SUBJECTS["embedded"].layers(embedded)
    assert layers == [0, 1, 3, 5, 7, 9]
    frames = {"a": pd.DataFrame({"layer": [*layers, "all"]}), "b": pd.DataFrame({"layer": [0, 1]})}
    both = side_by_side(frames, {"a": embedded, "b": text_model()})
    assert both.subject.tolist() == ["a"] * 7 + ["b"] * 2
    np.testing.assert_allclose(both.depth[:6], np.array([1, 2, 4, 6, 8, 10]) / 12)
    assert np.isnan(both.depth[6]) and both.depth[8] == 2 / text_model().n_layers


def test_frames_without_layers_or_models_are_refused(embedded):
    with pytest.raises(ValueError, match=r"frames\['a'\] .*layer"):
        side_by_side({"a": pd.DataFrame({"x": [1]})}, {"a": embedded})
    with pytest.raises(ValueError, match="frames' names must be .*'a'.*got 'b'"):
        side_by_side({"b": pd.DataFrame({"layer": [1]})}, {"a": embedded})


def test_candidates_are_first_tokens_of_all_answers_in_order():
    subject, loaded = SUBJECTS["smollm2"], text_model()
    assert isinstance(loaded, LoadedText)
    found = subject.candidates(loaded)
    asked = subject.questions(1)[0][1].text
    assert found == sorted(set(found)) and set(found) == {loaded.answer_ids(asked, word)[0] for word in subject.answers}
    assert SUBJECTS["embedded"].candidates(loaded) is None
