"""Texts of facts: their words are where they say, the answer is in the text, and no place is favoured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.scenes.facts import FACT_KINDS, N_FACTS, TextScene, text_sample, text_scene
from analysis.scenes.ground_truth import text_labels
from tests.support.text_models import text_model

MANY = text_sample(400, seed=11)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_words_are_where_they_say(seed, index):
    scene = text_scene(seed, index)
    assert scene == text_scene(seed, index)
    for fact, spans in zip(scene.facts, scene.spans, strict=True):
        for key, (start, end) in spans.items():
            assert scene.text[start:end] == fact[key]
            assert not scene.text[start - 1 : start].isalpha() and not scene.text[end : end + 1].isalpha()


def test_the_question_repeats_the_fact_up_to_the_answer():
    for scene, question in MANY:
        (span,) = question.second
        begun = question.text.removeprefix("Again: ")
        start = scene.text.index(begun)
        assert span == (start + len(begun) + 1, start + len(begun) + 1 + len(question.answer))
        assert scene.text[slice(*span)] == question.answer
        assert all(scene.text[a:b] in f"{begun} {question.answer}" for a, b in question.relevant)
        assert set(question.relevant) <= set(question.objects)


@pytest.mark.parametrize("key", ["name", "city", "colour", "object"])
def test_no_word_is_in_two_facts(key):
    for scene, _ in MANY:
        words = [fact[key] for fact in scene.facts]
        assert len(set(words)) == len(words)


def test_answers_come_at_every_place_and_no_fact_has_one_length():
    assert {len(scene.facts) for scene, _ in MANY} == set(N_FACTS)
    assert {question.kind for _, question in MANY} == set(FACT_KINDS)
    places = [question.second[0][0] / len(scene.text) for scene, question in MANY]
    shares = np.histogram(places, bins=5, range=(0, 1))[0] / len(places)
    assert shares.min() > 0.14 and shares.max() < 0.26  # .2 each; binomial standard deviation .02
    starts = [question.second[0][0] for _, question in MANY]
    assert len(set(np.array(starts) % 8)) == 8  # even spacing dooms no answer and saves none


def test_labels_by_hand():
    loaded = text_model()
    scene = TextScene("Ben sold a hat.")
    question = type(MANY[0][1])("any", "Ben sold a", "hat", ((0, 3), (11, 14)), ((0, 3), (11, 14)), ((11, 14),))
    labels = text_labels(loaded, [(scene, question)])
    assert "".join(labels.label.str[0]) == "rrrbbbbbbbbrrrb"
    assert "".join(labels["look"].astype(str)) == "111000000002220"


def test_refuses_numbers_that_are_none():
    with pytest.raises(ValueError, match="index must be"):
        text_scene(0, -1)
    with pytest.raises(ValueError, match="n must be"):
        text_sample(-1)
