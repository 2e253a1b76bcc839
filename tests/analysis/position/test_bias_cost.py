"""A planted bias does what it says."""

import numpy as np
import pandas as pd
import pytest

from analysis.position.bias_cost import with_planted_bias
from analysis.scenes.ground_truth import object_third
from analysis.scenes.mosaic import Digit, Scene
from analysis.scenes.questions import Question, sample
from analysis.statistics.rankings import ranks


def synthetic(samples=2, layers=2, tokens=7, seed=0):
    rng = np.random.default_rng(seed)
    keys = np.stack(np.meshgrid(range(samples), range(layers), range(tokens), indexing="ij")).reshape(3, -1)
    table = pd.DataFrame(dict(zip(["sample", "layer", "vision_index"], keys, strict=True))).assign(token=keys[2] + 4)
    return table.assign(a=rng.random(len(table)).round(1))


def test_strength_0_ranks_as_the_criterion_and_strength_1_by_position():
    table = synthetic()
    found = with_planted_bias(table, "a", [0.0, 1.0])
    for _, group in found.groupby(["sample", "layer"]):
        first, last = (ranks(group[["a+0"]].to_numpy().T), ranks(group[["a+1"]].to_numpy().T))
        assert (first == ranks(group[["a"]].to_numpy().T)).all() and (last == np.arange(7)[::-1]).all()
    assert found["a+1"].max() == 1 and found[["a+0", "a+1"]].min().min() == 0


def test_strengths_between_by_hand():
    table = pd.DataFrame({"sample": 0, "layer": 0, "token": [5, 6, 7], "vision_index": [0, 1, 2], "a": [9.0, 1.0, 1.0]})
    found = with_planted_bias(table, "a", [0.25, 0.5])  # places from the lowest: 1, 1/4, 1/4; positions 0, 1/2, 1
    assert found["a+0.25"].tolist() == pytest.approx([0.75, 0.75 / 4 + 0.125, 0.75 / 4 + 0.25])
    assert found["a+0.5"].tolist() == pytest.approx([0.5, 0.375, 0.625])


def test_the_table_is_left_as_it_was_whatever_the_order_of_its_rows():
    table = synthetic().sample(frac=1, random_state=0)
    before = table.copy()
    found = with_planted_bias(table, "a", [0.3])
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(found[list(table)], before)
    pd.testing.assert_series_equal(
        found["a+0.3"].sort_index(), with_planted_bias(table.sort_index(), "a", [0.3])["a+0.3"]
    )


def test_one_token_has_nothing_to_prefer():
    assert (with_planted_bias(synthetic(tokens=1), "a", [0.0, 0.5, 1.0])[["a+0", "a+0.5", "a+1"]] == 0).all(axis=None)


def test_strengths_out_of_range_are_refused():
    for wrong in ([-0.1], [0.5, 1.1], [np.nan]):
        with pytest.raises(ValueError, match="each of strengths must be a finite number from 0 to 1; got"):
            with_planted_bias(synthetic(), "a", wrong)


def test_a_criterion_that_is_partly_nan_is_not_hidden():
    """A whole layer of NaN would be left out by whoever ranks the new column."""
    table = synthetic()
    with pytest.raises(ValueError, match="a of the table must hold finite numbers; got nan in 1 of 28 rows"):
        with_planted_bias(table.assign(a=table.a.where(table.index != 3)), "a", [0.5])


@pytest.mark.parametrize(("row", "place"), list(enumerate(["start", "start", "middle", "middle", "end", "end"])))
def test_thirds_by_hand(row, place):
    patches = tuple(24 * row + 2 * (5 - row) + step for step in (0, 1, 12, 13))
    thing = Digit(7, "red", (16 * row, 16 * (5 - row)), 16, patches)
    scene = Scene(np.zeros((96, 96, 3), dtype=np.uint8), (thing,))
    ask = [(scene, Question(kind, "", "", thing.patches, thing.patches)) for kind in ("how-many", "what", "where")]
    nothing = (scene, Question("is-there", "", "no", (), thing.patches))
    found = object_third([*ask, nothing, ask[1]])
    assert found.question.tolist() == [1, 2, 4] and found.place.tolist() == [place] * 3


def test_places_of_a_drawn_test_set():
    asked = sample(60)
    found = object_third(asked).set_index("question").place
    assert list(found.index) == [i for i, (_, q) in enumerate(asked) if q.kind in ("what", "colour", "where")]
    for number, place in found.items():
        scene, question = asked[number]
        thing = next(thing for thing in scene.digits if thing.patches == question.relevant)
        third = ("start", "middle", "end").index(place)
        assert abs(thing.centre[0] / 32 - 0.5 - third) < 0.7  # the patches' mean row may lie beside the centre
