"""Frame in, table for reading out: no arithmetic but rounding."""

from __future__ import annotations

import pandas as pd


def interval_table(rows: pd.DataFrame, index: str, columns: str, digits: int = 2) -> pd.DataFrame:
    """Means with their intervals as text, in the order in which rows and columns occur.

    Args:
        rows: frame with the columns mean, low, high and the two named next, one row per pair of their values.
        index: column whose values become the rows.
        columns: column whose values become the columns.
        digits: behind the point.

    >>> frame = pd.DataFrame({"a": ["x"], "b": ["y"], "mean": [0.5], "low": [0.25], "high": [1.0]})
    >>> interval_table(frame, "a", "b").loc["x", "y"]
    '0.50 [0.25, 1.00]'
    """
    text = [
        f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        for mean, low, high in zip(rows["mean"], rows.low, rows.high, strict=True)
    ]
    wide = rows.assign(text=text).pivot(index=index, columns=columns, values="text")
    return wide.reindex(index=rows[index].unique(), columns=rows[columns].unique()).rename_axis(columns=None)
