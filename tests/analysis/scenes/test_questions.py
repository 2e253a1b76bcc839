"""The questions: answered from the scene by another path, balanced, about the patches they say."""

from collections import Counter

import numpy as np
import pytest

from analysis.scenes import questions
from analysis.scenes.answers import NUMBERS
from analysis.scenes.mosaic import PICTURE_SIDES, Scene, scene
from analysis.scenes.question_kinds import QUESTION_KINDS, words
from analysis.scenes.questions import question, questions_each, sample


def rng():
    return np.random.default_rng(0)


def patches(digits):
    return tuple(sorted({patch for digit in digits for patch in digit.patches}))


def towards(one, other, way):
    """Whether the other lies within 38.7 degrees of a direction, by angles (the scene's own test has ratios)."""
    rows, columns = (a - b for a, b in zip(other.centre, one.centre, strict=True))
    ahead = {"left": 180, "right": 0, "above": 90, "below": -90}[way]
    angle = np.degrees(np.arctan2(-rows, columns))
    return abs((angle - ahead + 180) % 360 - 180) <= np.degrees(np.arctan(1 / 1.25)) + 1e-9


def read_off(drawn, text):
    """Answer, and the digits of the first and the second look, from the words of a question."""
    said, digits = text.split(), drawn.digits
    key = next((word for word in reversed(said) if word not in ("one", "digits", "twice")), None)
    named = [d for d in digits if key in (d.colour, str(d.digit))]
    way = next((word for word in said if word in ("left", "right", "above", "below")), None)
    if way:
        (one,) = named
        (other,) = [d for d in digits if d is not one and towards(one, d, way)]
        return other.colour if said[1] == "colour" else str(other.digit), named, [other]
    if text == "how many digits":
        return NUMBERS[len(digits)], digits, []
    if text.startswith("how many are"):
        return NUMBERS[len(named)], named, []
    if text.startswith("is there"):
        return "yes" if named else "no", named, []
    if text.startswith("is the largest"):
        largest = sorted(digits, key=lambda d: d.extent)[-1]
        return "yes" if largest.colour == key else "no", [largest], []
    if text == "which digit appears twice":
        value, count = Counter(d.digit for d in digits).most_common(1)[0]
        assert count == 2
        return str(value), [d for d in digits if d.digit == value], []
    (one,) = named
    rows = "top" if one.centre[0] < 8 * drawn.grid / 2 else "bottom"
    columns = "left" if one.centre[1] < 8 * drawn.grid / 2 else "right"
    where = f"{rows}-{columns}"
    return {"what": str(one.digit) if said[1] == "digit" else one.colour, "where": where}[said[0]], named, []


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_questions_are_answered_from_the_scene(kind):
    for i in range(60):
        drawn = scene("test", 3, i, PICTURE_SIDES[i % 3])
        asked = question(drawn, kind, np.random.default_rng(i))
        answer, first, second = read_off(drawn, asked.text)
        assert asked.kind == kind and asked.answer == answer
        assert asked.relevant == patches([*first, *second]) and asked.second == patches(second)
        assert asked.objects == patches(drawn.digits) and set(asked.second) <= set(asked.relevant) <= set(asked.objects)
        assert set(asked.text.split()) | {asked.answer} <= set(words())


def test_there_are_ten_kinds_of_which_two_need_two_looks():
    asked = [q for _, q in sample(100)]
    assert len(QUESTION_KINDS) == 10 and {q.kind for q in asked} == set(QUESTION_KINDS)
    assert {q.kind for q in asked if q.second} == {"next-to-colour", "next-to-digit"}


@pytest.mark.parametrize("kind", ["is-there", "largest"])
def test_yes_is_as_frequent_as_no(kind):
    answers = Counter(q.answer for _, q in sample(300, kinds=(kind,)))
    assert abs(answers["yes"] - 150) < 35  # four standard deviations


def test_the_same_arguments_give_the_same_questions_whatever_else_is_drawn():
    for (a, p), (b, q) in zip(sample(12), sample(7), strict=False):
        assert np.array_equal(a.image, b.image) and a.digits == b.digits and p == q


def test_every_scene_is_asked_every_kind():
    asked, numbers = questions_each(3, side=72)
    assert [q.kind for _, q in asked] == list(QUESTION_KINDS) * 3 and numbers == [
        i for i in range(3) for _ in range(10)
    ]
    assert all(s is asked[10 * number][0] for (s, _), number in zip(asked, numbers, strict=True))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="kind must be one of 'what', .*got 'why'"):
        question(scene("test", 0, 0), "why", rng())
    with pytest.raises(ValueError, match="n must be an int of 0 or more; got -1"):
        sample(-1)
    with pytest.raises(ValueError, match="split must be one of"):
        sample(0, "val")
    with pytest.raises(ValueError, match="side must be one of"):
        sample(1, side=100)


@pytest.mark.parametrize("wrong", [1.5, -1, True, "3", None, float("nan")], ids=repr)
def test_numbers_and_seeds_are_ints(wrong, without_type_checker):
    for call, name in (
        (lambda: sample(wrong), "n"),
        (lambda: sample(1, seed=wrong), "seed"),
        (lambda: questions_each(wrong), "n_scenes"),
        (lambda: questions_each(1, wrong), "seed"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be an int .*; got {wrong!r}"):
            call()


@pytest.mark.parametrize("kinds", [(), "what", 5], ids=repr)
def test_kinds_are_a_list(kinds, without_type_checker):
    with pytest.raises(ValueError, match="kinds must be a list of kinds of questions, at least one; got"):
        sample(2, kinds=kinds)


def test_a_kind_that_is_none_is_refused_whether_or_not_its_turn_comes():
    with pytest.raises(ValueError, match="each of kinds must be one of 'what', .*; got 'What'"):
        sample(0, kinds=("what", "What"))


def test_numpys_numbers_give_the_same_scenes(without_type_checker):
    for (a, p), (b, q) in zip(sample(3, seed=2), sample(np.int64(3), seed=np.int64(2)), strict=True):
        assert np.array_equal(a.image, b.image) and p == q


def test_a_picture_of_ones_own_has_no_questions_of_its_own():
    with pytest.raises(ValueError, match="a scene must have digits to be asked about"):
        questions.question(Scene(np.zeros((8, 8, 3), np.uint8)), "what", rng())
