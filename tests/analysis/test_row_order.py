"""The order of rows changes no number: bootstraps draw and sums add by sample or question, equal scores go by token."""

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.theorem.statistics.impact_table import PREDICTORS
from tests.analysis.test_damaged_frames import plain
from tests.support.frame_cases import CASES, KEPT
from tests.support.impact_tables import synthetic

BY_ORDER = {  # pairs are in the frame's order, as documented
    "pairwise_differences": lambda frame: frame.groupby("method", sort=False).sample(frac=1, random_state=1),
}


def shuffled(frame):
    return frame.sample(frac=1, random_state=1)


def by_its_texts(found):
    """A function's result with its rows in an order of their own."""
    if not isinstance(found, pd.DataFrame):
        return plain(found)
    texts = found.astype(str).drop(columns=[name for name in found if found[name].dtype == float])
    order = texts.reset_index(drop=True).sort_values(list(texts), kind="stable").index
    return plain(found.reset_index(drop=True).loc[order])


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_rows_changes_no_number(name):
    case = CASES[name]
    mixed = BY_ORDER.get(name, shuffled)(case.frame)
    found, expected = by_its_texts(case.call(mixed)), by_its_texts(case.call(case.frame))
    assert list(found) == list(expected)
    for key, values in expected.items():
        one, other = (np.atleast_1d(np.array(each, object)) for each in (found[key], values))
        assert [str(v) for v in one] == [str(v) for v in other] or np.allclose(
            one.astype(float), other.astype(float), rtol=1e-12, atol=1e-15, equal_nan=True
        ), key


def test_intervals_are_drawn_by_question():
    rng = np.random.default_rng(0)
    answers = pd.DataFrame({"method": "m", "question": range(50), "right": rng.normal(size=50)})
    expected = analysis.summarise_accuracy(answers)
    pd.testing.assert_frame_equal(analysis.summarise_accuracy(shuffled(answers)), expected)
    one_by_one = analysis.mean_by_group(shuffled(answers), ["method"], "right", unit=["question"])
    pd.testing.assert_frame_equal(one_by_one, expected[list(one_by_one)])


def test_intervals_are_drawn_by_sample():
    kept = analysis.planted_kept(30, 40, 0.3, 2.0)
    for call in (analysis.retention, analysis.end_to_start_ratio):
        pd.testing.assert_frame_equal(call(shuffled(kept)), call(kept))


def test_among_equal_impacts_the_first_token_is_kept():
    table = synthetic(samples=2, layers=1, tokens=12)
    table[list(PREDICTORS)] = table[list(PREDICTORS)].round(0) + 1  # many equal ones
    pd.testing.assert_frame_equal(analysis.per_sample(shuffled(table)), analysis.per_sample(table))


def test_curves_of_several_ratios_side_by_side():
    """The check that no token is there twice did not know of further columns in `by`."""
    both = pd.concat([KEPT.assign(share=share) for share in (0.5, 0.1)])
    for call in (analysis.retention, analysis.end_to_start_ratio):
        found = call(both, ["share", "layer", "criterion"], bins=3)
        half = call(KEPT.assign(share=0.5), ["share", "layer", "criterion"], bins=3)
        pd.testing.assert_frame_equal(found[found.share == 0.5].reset_index(drop=True), half)
