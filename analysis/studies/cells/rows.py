"""The rows of a cell: checked, as plain data for its file, and with its arguments beside them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd


def check_rows(rows: Any, arguments: Collection[str]) -> pd.DataFrame:
    """What a cell returned, if it can be stored.

    Args:
        rows: What the function of the cell returned.
        arguments: The names of its arguments, which stand beside the rows.

    Raises:
        ValueError: It is no DataFrame with rows, has an index of its own, a column that is named as an argument or as
            another one, or a value that is no number, truth or text.
    """
    if not isinstance(rows, pd.DataFrame) or rows.empty:
        raise ValueError(f"a cell must return a DataFrame with rows; got {rows!r}.")
    if rows.index.nlevels > 1 or rows.index.name is not None:
        raise ValueError(f"a cell must return its keys as columns (reset_index); got the index {rows.index.names}.")
    both = [name for name in arguments if name in rows.columns]
    if both:
        raise ValueError(f"a cell must not return columns named as its arguments; got {', '.join(both)}.")
    try:
        json.dumps(columns_of(rows))
    except TypeError as error:
        raise ValueError(f"a cell must return numbers, truths and texts; got {error}.") from error
    return rows


def with_arguments(rows: pd.DataFrame, arguments: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a finished cell with its arguments as columns in front; lists and dictionaries as text."""
    told = {name: as_column(value) for name, value in arguments.items()}
    columns = {name: [value] * len(rows) for name, value in told.items()}
    return pd.concat([pd.DataFrame(columns, index=rows.index), rows], axis=1)


def as_column(value: Any) -> Any:
    """An argument as it stands in a frame: a list as "1, 6, 8", a dictionary as "metric: l2", others as they are.

    >>> as_column([1 / 12, 1, 8]), as_column({"20": 72, "3": [1, 6]}), as_column({}), as_column(0.5)
    ('0.0833, 1, 8', '3: 1, 6; 20: 72', '', 0.5)
    """
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: int(item[0]) if item[0].isdigit() else 0)  # layers are texts
        return "; ".join(f"{name}: {_short(each)}" for name, each in items)
    return ", ".join(map(_short, value)) if isinstance(value, list) else value


def _short(value: Any) -> str:
    return short(value) if isinstance(value, float) else str(as_column(value))


def short(value: float) -> str:
    """A number for reading: a share with three digits, others with six.

    >>> short(1 / 3), short(1152.0)
    ('0.333', '1152')
    """
    return f"{value:.3g}" if abs(value) < 1 else f"{value:g}"


def columns_of(rows: pd.DataFrame) -> dict[str, dict]:
    """The columns by name, each with its dtype and its values as JSON has them.

    Raises:
        ValueError: Two columns have one name.
    """
    names = [str(column) for column in rows.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"a cell must return different columns; got {names}.")
    return {
        name: {"dtype": str(rows[column].dtype), "values": [_plain(value) for value in rows[column].tolist()]}
        for name, column in zip(names, rows.columns, strict=True)
    }


def frame_of(columns: dict[str, dict]) -> pd.DataFrame:
    """The rows that `columns_of` gave."""
    return pd.DataFrame({name: pd.Series(each["values"], dtype=each["dtype"]) for name, each in columns.items()})


def _plain(value: Any) -> Any:
    return None if value is None or value is pd.NA or value != value else value
