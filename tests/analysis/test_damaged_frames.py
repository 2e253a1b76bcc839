"""Frames as users have them: harmless differences give the same numbers, damage is said by the column's name.

Over every public function that takes a frame (`tests/support/frame_cases.py`).
"""

import io
from numbers import Real

import numpy as np
import pandas as pd
import pytest

import analysis
from tests.support.frame_cases import CASES


def through_a_file(frame):
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)))


def with_categories(frame):
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.astype({name: "category" for name in {*texts, *({"sample", "question"} & set(frame))}})


def of_objects(frame):
    return frame.astype(object)


def with_twice_the_same_index(frame):
    return frame.set_axis(np.arange(len(frame)) // 2)


def with_further_columns(frame):
    """Columns as users add them, some under names that functions use inside."""
    names = "mean low n base easy group label kind bin side value chance stored first_ predicted index 0".split()
    return frame.assign(**{name: "x" for name in names if name not in frame})


def with_levels_of_its_own(frame):
    numbers = np.arange(len(frame))[::-1]
    return frame.set_axis(pd.MultiIndex.from_arrays([numbers, numbers], names=[None, "run"]))


HARMLESS = {
    "further columns": with_further_columns,
    "columns in another order": lambda frame: frame[frame.columns[::-1]],
    "an index of several levels": with_levels_of_its_own,
    "through a CSV file": through_a_file,
    "pandas' own types": lambda frame: frame.convert_dtypes(),
    "categories": with_categories,
    "objects": of_objects,
    "index repeated": with_twice_the_same_index,
    "numbers as floats": lambda frame: frame.astype(
        {name: np.float32 for name in {"layer", "token"} & set(frame)}, errors="ignore"
    ),
}


def plain(found):
    """What a function gave, without the types of its labels and the index of a frame that was handed through."""
    if isinstance(found, pd.DataFrame):
        rows = found.reset_index(drop=True)
        return {name: [None if pd.isna(v) else v for v in rows[name].astype(object)] for name in rows}
    return dict(found) if isinstance(found, (pd.Series, dict)) else found


def assert_same(found, expected):
    found, expected = plain(found), plain(expected)
    assert set(expected) <= set(found)  # further columns of a frame that was handed through stay
    for name, values in expected.items():
        for one, other in zip(
            np.atleast_1d(np.array(found[name], object)), np.atleast_1d(np.array(values, object)), strict=True
        ):
            if isinstance(other, Real) and not isinstance(other, bool):
                assert one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True), name
            else:
                assert str(one) == str(other), name


@pytest.mark.parametrize("change", HARMLESS)
@pytest.mark.parametrize("name", CASES)
def test_harmless_differences_change_nothing(name, change):
    case = CASES[name]
    before = case.frame.copy()
    assert_same(case.call(HARMLESS[change](case.frame)), case.call(case.frame))
    pd.testing.assert_frame_equal(case.frame, before)  # and the frame is the user's


@pytest.mark.parametrize("name", CASES)
def test_columns_may_be_levels_of_the_index(name):
    case = CASES[name]
    levels = [column for column in ("sample", "layer", "method", "question") if column in case.needed]
    if levels:
        found, expected = case.call(case.frame.set_index(levels)), plain(case.call(case.frame))
        found = plain(
            found.reset_index() if isinstance(found, pd.DataFrame) and levels[0] in found.index.names else found
        )
        assert_same({key: found[key] for key in expected}, expected)


@pytest.mark.parametrize("name", CASES)
def test_a_missing_column_is_named(name):
    case = CASES[name]
    for column in case.needed:
        with pytest.raises(ValueError, match=rf"rows without \['{column}'\]"):
            case.call(case.frame.drop(columns=column))


@pytest.mark.parametrize("name", CASES)
def test_an_empty_frame_and_no_frame_are_said(name, without_type_checker):
    case = CASES[name]
    with pytest.raises(ValueError, match="must have rows and the columns .*; got 0 rows"):
        case.call(case.frame.iloc[:0])
    for wrong in (None, [], case.frame.to_dict()):
        with pytest.raises(ValueError, match="must be a DataFrame; got"):
            case.call(wrong)
    with pytest.raises(ValueError, match=rf"there once; got .*{case.needed[0]}"):
        case.call(pd.concat([case.frame, case.frame[[case.needed[0]]]], axis=1))


def damaged(frame, column, value):
    """The frame with one value of a column replaced."""
    values = frame[column].astype(object)
    return frame.assign(**{column: [value, *values.iloc[1:]]})


WRONG = {"numbers": [np.nan, np.inf, -np.inf, "0.5", None, 1j], "truths": [np.nan, 5, 0.5, "True", None]}
WRONG |= {"labels": [np.nan, None, pd.NA], "counted": [np.nan, -1, 0.5, "0", True, np.inf]}


@pytest.mark.parametrize("name", CASES)
def test_values_that_a_column_cannot_have_are_named(name):
    case = CASES[name]
    for kind, wrong in WRONG.items():
        for column in getattr(case, kind):
            for value in wrong:
                with pytest.raises(ValueError, match=rf"\b{column}\b.* must .*; got"):
                    case.call(damaged(case.frame, column, value))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.once])
def test_a_row_that_is_there_twice_is_said(name):
    frame = CASES[name].frame
    with pytest.raises(ValueError, match="once"):
        CASES[name].call(pd.concat([frame, frame.iloc[:1]]))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "question" in case.needed and case.once])
def test_two_question_sets_that_were_joined_are_said(name):
    """Both count their questions from 0; the message was pandas' "Index contains duplicate entries"."""
    frame = CASES[name].frame
    with pytest.raises(ValueError, match="question.* must be there once; got .*numbers of their own"):
        CASES[name].call(pd.concat([frame, frame]))


@pytest.mark.parametrize("label", ["Relevant", True, "object", 1])
def test_unknown_labels_are_named(label):
    case = CASES["localisation, labels"]
    with pytest.raises(ValueError, match=rf"label .*must be one of relevant, other, background; got {label!r}"):
        case.call(damaged(case.frame, "label", label))


def test_every_exported_function_of_a_frame_is_among_the_cases():
    names = {name.partition(",")[0] for name in CASES}
    documented = {
        name for name in analysis.__all__ if callable(value := getattr(analysis, name)) and takes_a_frame(value)
    }
    others = {
        "method_from_column",
        "criterion_groups",
        "add_recorded_impact",
        "side_by_side",
        "Study",
        "study_table",
    }  # tested in files of their own
    assert documented - others == names


def takes_a_frame(function):
    hints = getattr(function, "__annotations__", {})
    return any("DataFrame" in str(hint) for key, hint in hints.items() if key != "return")
