"""The scenes: seeded, varied, the same law in all directions, with the ground truth where it says."""

from collections import Counter

import numpy as np
import pytest

from analysis.scenes import mosaic
from analysis.scenes.drawing import PATCH, background, draw_digit, glyphs
from analysis.scenes.mosaic import LARGEST, PICTURE_SIDES, SMALL, scene
from analysis.scenes.photographs import PHOTOGRAPHS, SPLITS, photographs

EVERY_SIDE = pytest.mark.parametrize("side", PICTURE_SIDES)


def test_the_same_arguments_give_the_same_scene():
    assert np.array_equal(scene("test", 0, 3).image, scene("test", 0, 3).image)
    for other in (scene("test", 1, 3), scene("train", 0, 3), scene("test", 0, 4)):
        assert not np.array_equal(scene("test", 0, 3).image, other.image)


def test_train_and_test_digits_are_disjoint():
    kept = {split: {image.tobytes() for part in glyphs(split).values() for image in part} for split in SPLITS}
    sizes = [sum(map(len, glyphs(split).values())) for split in SPLITS]
    assert sum(sizes) == 1797 and sizes[1] == 540
    assert not kept["train"] & kept["test"]


def test_a_dozen_photographs_and_more_of_which_the_test_split_has_its_own():
    assert len(PHOTOGRAPHS) >= 12 and all(photo.licence for photo in PHOTOGRAPHS.values())
    pictures = {split: {image.tobytes() for image in photographs(split)} for split in SPLITS}
    assert min(map(len, pictures.values())) >= 4 and not pictures["train"] & pictures["test"]
    assert sum(map(len, pictures.values())) == len(PHOTOGRAPHS)
    assert all(image.mode == "RGB" and min(image.size) >= 120 for split in SPLITS for image in photographs(split))


@EVERY_SIDE
def test_digits_differ_as_the_questions_need_it_and_lie_apart_inside_the_picture(side):
    for i in range(40):
        drawn = scene("test", 0, i, side)
        digits = drawn.digits
        assert drawn.image.shape == (side, side, 3) and drawn.grid == side // PATCH and 3 <= len(digits) <= 6
        assert sorted(Counter(d.digit for d in digits).values())[-2:] == [1, 2]
        repeated = sorted(Counter(d.colour for d in digits).values())
        assert repeated[-1] in (2, 3) and set(repeated[:-1]) == {1}
        first, *others = sorted((d.extent for d in digits), reverse=True)
        assert first in range(*LARGEST) and all(other in range(*SMALL) for other in others)
        boxes = np.zeros((side, side), int)
        for (top, left), extent in ((d.corner, d.extent) for d in digits):
            assert 0 <= min(top, left) and max(top, left) + extent <= side
            boxes[top : top + extent, left : left + extent] += 1
        assert boxes.max() == 1


@EVERY_SIDE
def test_a_digit_is_drawn_on_its_patches_and_hardly_beside_them(side, monkeypatch):
    """Against the same scene without the drawing."""
    full = scene("test", 0, 5, side)
    monkeypatch.setattr(mosaic, "draw_digit", lambda *_: ())
    n = side // PATCH
    changed = np.abs(full.image.astype(float) - scene("test", 0, 5, side).image).sum(-1)
    by_patch = changed.reshape(n, PATCH, n, PATCH).sum((1, 3)).flatten()
    drawn = sorted({p for d in full.digits for p in d.patches})
    assert (by_patch[drawn] > 0).all() and by_patch[drawn].sum() > 0.9 * by_patch.sum()


def test_patches_by_hand():
    """A full square from pixel 6 to 18 of each axis: a sixth of it in the first patch, two thirds in the second."""
    picture = np.zeros((24, 24, 3))  # corners hold 4/144 of it, less than LEAST_INK; edges 16/144
    assert draw_digit(picture, (6, 6), "white", np.ones((12, 12))) == (1, 3, 4, 5, 7)
    assert (picture[6:18, 6:18] == 255).all() and picture.sum() == 255 * 3 * 144


def test_no_direction_is_preferred():
    """Centres of digits, over many scenes: as often in each half, within four standard deviations."""
    centres = np.array([d.centre for i in range(300) for d in scene("test", 9, i).digits]) / 96 - 0.5
    assert (np.abs((centres > 0).mean(0) - 0.5) < 2 / np.sqrt(len(centres))).all()
    assert np.abs(np.corrcoef(centres.T)[0, 1]) < 4 / np.sqrt(len(centres))


def test_no_end_of_the_background_is_brighter_or_busier():
    """Brightness and contrast of rows and columns: the first and the last third differ by chance alone."""
    pictures = np.stack([background("test", 96, np.random.default_rng([9, i])).mean(-1) for i in range(600)])
    for lines in (pictures, pictures.transpose(0, 2, 1)):
        for measured in (lines.mean(-1), lines.std(-1)):
            tilt = measured[:, -32:].mean(1) - measured[:, :32].mean(1)
            assert abs(tilt.mean()) < 4 * tilt.std() / np.sqrt(len(tilt))


def test_digits_lie_anywhere_not_on_the_grid_of_patches():
    corners = np.array([d.corner for i in range(100) for d in scene("test", 9, i).digits]) % PATCH
    assert all(len(set(line)) == PATCH for line in corners.T)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'; got 'val'"):
        scene("val", 0, 0)
    with pytest.raises(ValueError, match="side must be one of 72, 96, 120; got 80"):
        scene("test", 0, 0, 80)


@pytest.mark.parametrize("wrong", [1.5, -1, True, "3", None, float("nan")], ids=repr)
def test_numbers_and_seeds_are_ints(wrong, without_type_checker):
    for call, name in ((lambda: scene("test", wrong, 0), "seed"), (lambda: scene("test", 0, wrong), "index")):
        with pytest.raises(ValueError, match=f"^{name} must be an int .*; got {wrong!r}"):
            call()
