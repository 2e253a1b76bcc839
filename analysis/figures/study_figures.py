"""The table of a study as a figure of a column's width: long frame in, figure out."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.labels import look
from analysis.statistics.frames import checked

COLUMN = 3.3  # inches, of a two-column page
SMALL = {"font.size": 8, "axes.labelsize": 8, "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7}
SMALL |= {"pdf.fonttype": 42, "axes.spines.top": False, "axes.spines.right": False}  # 42: letters stay letters


def study_figure(table: pd.DataFrame, ylabel: str = "accuracy", xlabel: str = "") -> Figure:
    """A line with intervals for each row of a study's table, over its columns; one panel a table, one above the other.

    Rows differ in marker and line as well as in hue, so that they can be told apart in grey.

    Args:
        table: The frame of `analysis.studies.study_table`: table, row, column, mean, low, high.
        ylabel: What is averaged.
        xlabel: What the columns are.

    Raises:
        ValueError: The frame lacks a column or has a cell twice.
    """
    labels = ["table", "row", "column"]
    kinds = dict.fromkeys(labels, "label") | dict.fromkeys(["mean", "low", "high"], "as it is")
    table = checked(table, "table", kinds, labels)
    parts = list(table.groupby("table", sort=False))
    with plt.rc_context(SMALL):
        figure, axes = plt.subplots(
            len(parts), 1, figsize=(COLUMN, 2.4 * len(parts) + 0.6), squeeze=False, layout="constrained"
        )
        for ax, (name, part) in zip(axes[:, 0], parts, strict=True):
            _panel(part, ax)
            ax.set(title=name, ylabel=ylabel)
        axes[-1, 0].set_xlabel(xlabel)
        entries = {name: line for ax in axes[:, 0] for line, name in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _panel(part: pd.DataFrame, ax: Axes) -> None:
    columns = list(part.column.unique())
    numeric = pd.to_numeric(pd.Series(columns), errors="coerce")
    places = dict(zip(columns, numeric if numeric.notna().all() else range(len(columns)), strict=True))
    rows = list(part.row.unique())
    step = 0.02 * (max(places.values()) - min(places.values()) or 1)
    for number, row in enumerate(rows):
        line = part[part.row == row]
        x = line.column.map(places) + step * (number - (len(rows) - 1) / 2)
        error = [(line["mean"] - line.low).fillna(0), (line.high - line["mean"]).fillna(0)]
        ax.errorbar(x, line["mean"], error, **look(row).line(), markersize=4, linewidth=1, elinewidth=0.6)
    turned = {"rotation": 45, "ha": "right"} if max(map(len, columns)) > 6 or len(columns) > 8 else {}
    ax.set_xticks(list(places.values()), columns, **turned)
