"""What a frame must hold: its columns, what is in them, and no row twice. Called where a user's frame comes in.

Whole numbers, numbers and truth values are taken in any type that holds them exactly: numpy's, pandas' own (Int64,
boolean), categories, or objects. Columns may be levels of the index. So a frame that went through a CSV file, a merge
or a change of types gives what the original gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd


def checked(frame: Any, name: str, columns: Mapping[str, str], once: Sequence[str] = ()) -> pd.DataFrame:
    """A copy of a frame whose named columns have plain types and whose index is 0 to n - 1; others are as they were.

    Args:
        frame: The frame as the user gave it.
        name: The argument that it is.
        columns: The columns that it must have, with their kinds, keys of KINDS.
        once: The columns that tell rows apart.

    Raises:
        ValueError: It is no frame, is empty, lacks a column or has it twice, a column holds something else than its
            kind allows, or two rows agree in all columns of `once`.

    >>> read = pd.DataFrame({"layer": pd.array([0, 1], "Int64"), "value": ["0.5", None]})
    >>> checked(read, "table", {"layer": "whole"}).layer.dtype
    dtype('int64')
    >>> checked(read, "table", {"layer": "whole", "value": "number"})
    Traceback (most recent call last):
    ValueError: value of the table must hold finite numbers; got '0.5', nan in 2 of 2 rows.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"the {name} must be a DataFrame; got {type(frame).__name__}.")
    plain = _with_columns(frame, name, list(columns))
    for column, kind in columns.items():
        plain[column] = KINDS[kind](plain[column], f"{column} of the {name}")
    _check_once(plain, list(once))
    return plain


def finite_numbers(series: pd.Series, what: str) -> pd.Series:
    """A series of finite numbers as floats.

    Raises:
        ValueError: A value is missing, infinite, or no number; the error calls the series `what`.
    """
    values = _floats(series)
    _refuse(series, ~np.isfinite(values), what, "finite numbers")
    return pd.Series(values, series.index)


def in_order(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of a frame by the values of some columns; draws and sums over them do not depend on the order given."""
    if not columns:
        return frame
    return frame.iloc[frame.groupby(list(columns)).ngroup().to_numpy().argsort(kind="stable")]


def _with_columns(frame: pd.DataFrame, name: str, columns: list[str]) -> pd.DataFrame:
    named = [level for level in frame.index.names if level is not None]
    levels = [level for level in named if level in columns and level not in frame.columns]
    missing = [column for column in columns if column not in frame.columns and column not in levels]
    if missing or frame.empty or frame.columns.nlevels > 1:
        raise ValueError(
            f"the {name} must have rows and the columns {', '.join(map(str, columns))}; got {len(frame)} rows without "
            f"{missing}."
        )
    twice = [column for column in columns if (frame.columns == column).sum() > 1]
    if twice:
        raise ValueError(f"every column of the {name} must be there once; got {', '.join(twice)} several times.")
    plain = frame.reset_index(drop=True)
    for level in levels:
        plain[level] = frame.index.get_level_values(level)
    return plain


def _check_once(frame: pd.DataFrame, once: list[str]) -> None:
    again = frame.duplicated(once) if once else np.zeros(len(frame), dtype=bool)
    if again.any():
        first = ", ".join(f"{column} {frame.loc[again.argmax(), column]}" for column in once)
        raise ValueError(
            f"every combination of {', '.join(once)} must be there once; got {int(again.sum())} again, the first is "
            f"{first}. Rows of several sets need numbers of their own, as by frame.assign(sample=i), or a column that "
            "tells them apart."
        )


def _floats(series: pd.Series) -> np.ndarray:
    """Numbers as float64; NaN for what is missing, infinite or no number."""
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_numeric_dtype(series.dtype):
        if not pd.api.types.is_complex_dtype(series.dtype):
            return series.to_numpy(dtype=float, na_value=np.nan)
    values = series.astype(object)
    return np.array([float(v) if isinstance(v, (Real, np.bool_)) else np.nan for v in values], dtype=float)


def _missing(series: pd.Series) -> np.ndarray:
    return series.isna().to_numpy(dtype=bool)


def _numbers_or_nan(series: pd.Series, what: str) -> pd.Series:
    values = _floats(series)
    _refuse(series, ~np.isfinite(values) & ~_missing(series), what, "finite numbers or NaN")
    return pd.Series(values, series.index)


def _whole(series: pd.Series, what: str) -> pd.Series:
    values = _floats(series)
    is_truth = np.array([isinstance(v, (bool, np.bool_)) for v in series.astype(object)])
    with np.errstate(invalid="ignore"):
        _refuse(series, ~np.isfinite(values) | (values != np.round(values)) | is_truth, what, "whole numbers")
    return pd.Series(values.astype(np.int64), series.index)


def _counted(series: pd.Series, what: str) -> pd.Series:
    values = _whole(series, what)
    _refuse(series, values.to_numpy() < 0, what, "whole numbers from 0 on")
    return values


def _truths(series: pd.Series, what: str) -> pd.Series:
    values = series.astype(object)
    _refuse(series, np.array([not isinstance(v, (bool, np.bool_)) for v in values]), what, "True and False")
    return values.astype(bool)


def _truths_or_numbers(series: pd.Series, what: str) -> pd.Series:
    """Truth values as bools if all are, else numbers as floats: the type says which of both a column holds."""
    all_truths = all(isinstance(v, (bool, np.bool_)) for v in series.astype(object))
    return _truths(series, what) if all_truths else finite_numbers(series, what)


def _labels(series: pd.Series, what: str) -> pd.Series:
    _refuse(series, _missing(series), what, "a value in every row")
    is_plain = isinstance(series.dtype, np.dtype) or isinstance(series.dtype, pd.StringDtype)
    return series if is_plain else series.astype(object).infer_objects()


def _layers_or_all(series: pd.Series, what: str) -> pd.Series:
    """Layers beside "all", which a CSV file gives back as text."""
    values = series.astype(object).map(lambda v: int(v) if isinstance(v, str) and v.isdecimal() else v).astype(object)
    is_all = (values == "all").to_numpy(dtype=bool)
    values[~is_all] = _whole(values[~is_all], f'{what}, where it is not "all",').astype(object)
    return values


def _texts(series: pd.Series, what: str) -> pd.Series:
    """Texts; a CSV file gives an empty one back as a missing value, and one of digits as a number."""

    def text(value: object) -> str:
        number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and value == round(value)
        return str(int(value)) if number else str(value)

    values = series.astype(object)
    return values.where(~_missing(series), "").map(text)


KINDS: dict[str, Callable[[pd.Series, str], pd.Series]] = {
    "label": _labels,  # whatever tells rows apart: a method, a question, a sample
    "whole": _whole,
    "counted": _counted,  # from 0 on: a layer, a token
    "layer or all": _layers_or_all,
    "number": finite_numbers,
    "number or NaN": _numbers_or_nan,
    "truth": _truths,
    "truth or number": _truths_or_numbers,
    "text": _texts,
    "as it is": lambda series, what: series,
}


def _refuse(series: pd.Series, wrong: np.ndarray, what: str, allowed: str) -> None:
    if wrong.any():
        shown = ", ".join(dict.fromkeys(map(repr, _plain_values(series[wrong]))))
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise ValueError(f"{what} must hold {allowed}; got {shown} in {int(wrong.sum())} of {len(series)} rows.")


def _plain_values(series: pd.Series) -> Iterable[object]:
    return (v.item() if isinstance(v, np.generic) else v for v in series.astype(object))
