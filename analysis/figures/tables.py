"""Frame in, table for reading out: no arithmetic but rounding."""

from __future__ import annotations

import pandas as pd

from analysis.statistics.frames import checked
from v2drop.arguments import whole_number


def interval_table(rows: pd.DataFrame, index: str, columns: str, digits: int = 2) -> pd.DataFrame:
    """Means with their intervals as text, in the order in which rows and columns occur.

    Args:
        rows: frame with the columns mean, low, high and the two named next, one row per pair of their values. A mean
            without an interval (NaN) stands alone.
        index: column whose values become the rows.
        columns: column whose values become the columns.
        digits: behind the point.

    Raises:
        ValueError: a column is missing, a pair is there twice, or `digits` is no int of 0 or more.

    >>> frame = pd.DataFrame({"a": ["x"], "b": ["y"], "mean": [0.5], "low": [0.25], "high": [1.0]})
    >>> interval_table(frame, "a", "b").loc["x", "y"]
    '0.50 [0.25, 1.00]'
    >>> interval_table(frame.assign(low=float("nan"), high=float("nan")), "a", "b").loc["x", "y"]
    '0.50'
    """
    digits = whole_number("digits", digits, 0)
    kinds = dict.fromkeys([index, columns, "mean", "low", "high"], "as it is")
    rows = checked(rows, "rows", kinds, [index, columns])
    text = [
        f"{mean:.{digits}f}" + ("" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
        for mean, low, high in zip(rows["mean"], rows.low, rows.high, strict=True)
    ]
    wide = rows.assign(text=text).pivot(index=index, columns=columns, values="text")
    return wide.reindex(index=rows[index].unique(), columns=rows[columns].unique()).rename_axis(columns=None)
