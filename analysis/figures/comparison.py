"""Methods side by side: frame in, Axes out."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from analysis.figures.curves import level
from analysis.figures.labels import label
from analysis.statistics.frames import checked


def interval_dots(
    summary: pd.DataFrame, order: list[str], ax: Axes, full_model_accuracy: float | None = None, xlabel: str = ""
) -> Axes:
    """One row a method, one dot with its interval a budget; the legend stands above.

    Args:
        summary: method, mean, low, high, and budget if there are several.
        order: methods from top to bottom.
        ax: axes to draw on.
        full_model_accuracy: share right of the model without drops, a dashed line.
        xlabel: quantity on the x axis, with its unit.

    Raises:
        ValueError: a column is missing, a method has two rows at a budget, or one of `order` has none.
    """
    keys = ["method", "budget"] if "budget" in summary else ["method"]
    summary = checked(summary, "summary", dict.fromkeys([*keys, "mean", "low", "high"], "as it is"), keys)
    groups = [(None, summary)]
    if "budget" in summary:
        groups = [(f"{budget:g} tokens a layer", rows) for budget, rows in summary.groupby("budget")]
    colours = sns.color_palette("viridis_r", len(groups) + 1)[1:]
    for i, ((name, rows), colour) in enumerate(zip(groups, colours, strict=True)):
        rows = rows.set_index("method")
        without = [method for method in order if method not in rows.index]
        if without:
            raise ValueError(
                f"every method of order must be in the summary{f' at {name}' if name else ''}; got {without}."
            )
        rows = rows.loc[order]
        y = np.arange(len(order)) + 0.24 * (i - (len(groups) - 1) / 2)
        spread = np.abs(rows[["low", "high"]].to_numpy().T - rows["mean"].to_numpy())
        ax.errorbar(rows["mean"], y, xerr=spread, fmt="osD^v"[i % 5], ms=4, lw=1.2, color=colour, label=name)
    if full_model_accuracy is not None:
        level(ax, full_model_accuracy, "nothing dropped", axis="x")
    ax.set_yticks(range(len(order)), map(label, order))
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_xlabel(xlabel or "mean with its 95 % interval")
    ax.grid(axis="x", alpha=0.25)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=9)
    sns.despine(ax=ax)
    return ax


def pair_matrix(rows: pd.DataFrame, value: str, order: list[str], ax: Axes, limit: int | float = 1) -> Axes:
    """A number for each pair of methods, in colours from -limit to limit.

    Args:
        rows: first (row of the picture), second (column) and the value.
        value: column.
        order: methods.
        ax: axes to draw on.
        limit: whose colours are the strongest.

    Raises:
        ValueError: a column is missing, or a pair is there twice, as at two budgets.
    """
    keys = ["first", "second"]
    rows = checked(rows, "rows", dict.fromkeys([*keys, value], "as it is"), keys)
    wide = rows.pivot(index="first", columns="second", values=value).reindex(index=order, columns=order)
    named = wide.rename(index=label, columns=label)
    colours = {"cmap": "vlag", "vmin": -limit, "vmax": limit, "cbar": False}
    sns.heatmap(named, ax=ax, annot=True, fmt=".2f", annot_kws={"size": 9}, **colours)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=45, labelsize=10)
    ax.tick_params(axis="y", rotation=0, labelsize=10)
    plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    return ax
