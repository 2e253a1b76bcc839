"""The embedded data: seeded, balanced, with the ground truth where it says."""

from collections import Counter

import numpy as np
import pytest

from analysis.scenes import mosaic
from analysis.scenes.drawing import GRID, PATCH, glyphs
from analysis.scenes.mosaic import COUNTS, QUESTION_KINDS, question, sample, scene


def rng():
    return np.random.default_rng(0)


def test_the_same_arguments_give_the_same_scene_whatever_else_is_drawn():
    long, short = sample(12), sample(7)
    for (a, p), (b, q) in zip(long, short, strict=False):
        assert np.array_equal(a.image, b.image) and a.digits == b.digits and p == q
    assert not np.array_equal(scene("test", 0, 3).image, scene("test", 1, 3).image)
    assert not np.array_equal(scene("test", 0, 3).image, scene("train", 0, 3).image)


def test_train_and_test_digits_are_disjoint():
    kept = {split: {image.tobytes() for part in glyphs(split).values() for image in part} for split in mosaic.SPLITS}
    sizes = [sum(map(len, glyphs(split).values())) for split in mosaic.SPLITS]
    assert sum(sizes) == 1797 and sizes[1] == 540
    assert not kept["train"] & kept["test"]


def test_things_differ_and_do_not_overlap():
    for i in range(50):
        things = scene("test", 0, i).digits
        assert 2 <= len(things) <= 6
        for values in ([t.digit for t in things], [t.colour for t in things], [t.place for t in things]):
            assert len(set(values)) == len(things)
        patches = [p for t in things for p in t.patches]
        assert len(set(patches)) == 4 * len(things) and 0 <= min(patches) and max(patches) < GRID**2


def test_patches_by_hand():
    thing = mosaic.Digit(7, "red", (1, 4))
    assert thing.patches == (2 * 12 + 8, 2 * 12 + 9, 3 * 12 + 8, 3 * 12 + 9) and thing.quadrant == "top-right"
    assert mosaic.Digit(7, "red", (3, 2)).quadrant == "bottom-left"


def test_a_digit_is_drawn_on_its_patches_and_nowhere_else(monkeypatch):
    """Against the same scene without the drawing."""
    full = scene("test", 0, 5)
    monkeypatch.setattr(mosaic, "draw_digit", lambda *_: None)
    changed = (full.image != scene("test", 0, 5).image).any(-1)
    patches = changed.reshape(GRID, PATCH, GRID, PATCH).any((1, 3)).flatten().nonzero()[0]
    drawn = {p for t in full.digits for p in t.patches}
    assert set(patches) <= drawn and len(patches) > 0.8 * len(drawn)


def answered(s, kind, key):
    """The answer, read off the scene by another path."""
    by_colour, by_digit = {t.colour: t for t in s.digits}, {str(t.digit): t for t in s.digits}
    if kind == "how-many":
        return COUNTS[len(s.digits) - 2]
    if kind == "is-there":
        return "yes" if key in by_digit else "no"
    return {
        "what": lambda: str(by_colour[key].digit),
        "colour": lambda: by_digit[key].colour,
        "where": lambda: by_digit[key].quadrant,
    }[kind]()


def test_questions_are_answered_from_the_scene():
    for i in range(60):
        s = scene("test", 3, i)
        for kind in QUESTION_KINDS:
            q = question(s, kind, np.random.default_rng(i))
            assert q.answer == answered(s, kind, q.text.split()[-1])
            assert set(q.relevant) <= set(q.objects) and bool(q.relevant) == (q.answer != "no")
            assert set(q.text.split()) | {q.answer} <= set(mosaic.words())


def test_is_there_is_balanced_and_places_are_even():
    answers = Counter(q.answer for _, q in sample(400, kinds=("is-there",)))
    assert abs(answers["yes"] - 200) < 40  # four standard deviations
    places = Counter(t.place for i in range(400) for t in scene("test", 9, i).digits)
    assert len(places) == 36 and max(places.values()) < 2 * min(places.values())


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'; got 'val'"):
        scene("val", 0, 0)
    with pytest.raises(ValueError, match="kind must be one of 'what', .*got 'why'"):
        question(scene("test", 0, 0), "why", rng())
    with pytest.raises(ValueError, match="n must be an int of 0 or more; got -1"):
        sample(-1)


NO_INTS = [1.5, -1, True, "3", None, float("nan")]


@pytest.mark.parametrize("wrong", NO_INTS, ids=repr)
def test_numbers_and_seeds_are_ints(wrong, without_type_checker):
    for call, name in (
        (lambda: sample(wrong), "n"),
        (lambda: sample(1, seed=wrong), "seed"),
        (lambda: mosaic.questions_each(wrong), "n_scenes"),
        (lambda: mosaic.questions_each(1, wrong), "seed"),
        (lambda: scene("test", wrong, 0), "seed"),
        (lambda: scene("test", 0, wrong), "index"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be an int .*; got {wrong!r}"):
            call()


@pytest.mark.parametrize("kinds", [(), "what", None, 5], ids=repr)
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
        question(mosaic.Scene(np.zeros((8, 8, 3), np.uint8)), "what", rng())
