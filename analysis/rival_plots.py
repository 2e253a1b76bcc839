"""Methods side by side: frame in, Axes out."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes


def dots(summary: pd.DataFrame, order: list[str], ax: Axes, level: float | None = None) -> Axes:
    """One row a method, one dot with its interval a budget.

    Args:
        summary: method, budget, mean, low, high.
        order: methods from top to bottom.
        ax: to draw on.
        level: of the model itself, dashed.
    """
    budgets = sorted(summary.budget.unique())
    colours = sns.color_palette("viridis_r", len(budgets) + 1)[1:]
    for i, (budget, colour) in enumerate(zip(budgets, colours, strict=True)):
        rows = summary[summary.budget == budget].set_index("method").loc[order]
        y = np.arange(len(order)) + 0.22 * (i - (len(budgets) - 1) / 2)
        spread = np.abs(rows[["low", "high"]].to_numpy().T - rows["mean"].to_numpy())
        ax.errorbar(
            rows["mean"], y, xerr=spread, fmt="o", ms=4, lw=1.2, color=colour, label=f"{budget:g} tokens a layer"
        )
    if level is not None:
        ax.axvline(level, color="0.4", ls="--", lw=1, label="nothing dropped")
    ax.set_yticks(range(len(order)), order)
    if not ax.yaxis_inverted():  # shared axes are turned once
        ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.25)
    ax.legend(frameon=False, fontsize=8)
    sns.despine(ax=ax)
    return ax


def matrix(rows: pd.DataFrame, value: str, order: list[str], ax: Axes, **settings: object) -> Axes:
    """A number for each pair of methods.

    Args:
        rows: first (row of the picture), second (column) and the value.
        value: column.
        order: methods.
        ax: to draw on.
        **settings: of `seaborn.heatmap`.
    """
    wide = rows.pivot(index="first", columns="second", values=value).reindex(index=order, columns=order)
    sns.heatmap(wide, ax=ax, annot=True, fmt=".2f", annot_kws={"size": 6.5}, cmap="vlag", center=0, **settings)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=60, labelsize=8)
    ax.tick_params(axis="y", rotation=0, labelsize=8)
    plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    return ax
