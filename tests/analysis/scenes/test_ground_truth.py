"""What lies on each token of a mosaic, whatever the grid it is cut into."""

import numpy as np
import pytest

from analysis.scenes.ground_truth import patches_of, token_labels
from analysis.scenes.questions import sample
from analysis.statistics.grids import grid_side
from tests.support.labelled_scene import asked


def test_truth_by_hand_on_the_models_own_grid():
    found = token_labels(asked(), 144)
    assert list(found["vision_index"]) == list(range(144)) and (found["sample"] == 0).all()
    by = {on: tuple(group["vision_index"]) for on, group in found.groupby("label")}
    assert by["relevant"] == (32, 33, 44, 45) and by["other"] == (120, 121, 132, 133) and len(by["background"]) == 136


def test_truth_by_hand_on_another_grid():
    """A 6 x 6 grid has a token for each place of a digit; in a 24 x 24 grid each patch is cut into four."""
    coarse = token_labels(asked(), 36).set_index("vision_index").label
    assert list(coarse[coarse == "relevant"].index) == [1 * 6 + 4] and list(coarse[coarse == "other"].index) == [30]
    fine = token_labels(asked(), 576).set_index("vision_index").label
    cut = [row * 24 + column for row in range(4, 8) for column in range(16, 20)]
    assert list(fine[fine == "relevant"].index) == cut and (fine == "other").sum() == 16


def test_every_patch_is_found_by_the_tokens_in_it():
    fine = np.array(patches_of(576)).reshape(12, 2, 12, 2)
    assert (fine == np.arange(144).reshape(12, 1, 12, 1)).all()
    assert patches_of(1) == [6 * 12 + 6] and grid_side(576) == 24
    for wrong in (0 + 2, 143, 145):
        with pytest.raises(ValueError, match=f"n_tokens must be a square number, a grid of patches; got {wrong}"):
            token_labels(asked(), wrong)


def test_truth_numbers_samples_as_their_questions():
    questions = sample(10)
    found = token_labels(questions, 144)
    for number, (_, question) in enumerate(questions):
        rows = found[found["sample"] == number].set_index("vision_index").label
        assert set(rows[rows == "relevant"].index) == set(question.relevant)
        assert set(rows[rows != "background"].index) == set(question.objects)


@pytest.mark.parametrize("wrong", [0, -4, 4.0, True, "4", None], ids=repr)
def test_a_number_of_tokens_is_an_int(wrong, without_type_checker):
    with pytest.raises(ValueError, match="n_tokens must be an int of 1 or more; got"):
        token_labels(asked(), wrong)


def test_without_questions_there_is_no_truth():
    with pytest.raises(ValueError, match="questions must be a list of pairs .*, one or more; got"):
        token_labels([], 144)
