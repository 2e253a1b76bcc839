"""Figures of criteria beside each other and over positions: frame in, Axes out, no arithmetic but that of drawing."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import NAMES, lines
from analysis.statistics.grids import grid_side

PARTS = {"content": "#4c9f70", "position": "#d1495b", "rest": "#cccccc"}


def similarity_map(square: pd.DataFrame, groups: pd.Series, ax: Axes) -> Axes:
    """How alike criteria are, in the order of their groups, with lines between these.

    Args:
        square: of `analysis.agreement_matrix`.
        groups: of `analysis.criterion_groups`.
        ax: to draw on.
    """
    shown = square.loc[groups.index, groups.index].rename(index=NAMES, columns=NAMES)
    bar = {"label": "rank correlation", "shrink": 0.8}
    sns.heatmap(shown, vmin=-1, vmax=1, cmap="vlag", annot=True, fmt=".2f", annot_kws={"size": 7}, ax=ax, cbar_kws=bar)
    for edge in np.flatnonzero(np.diff(groups.to_numpy())) + 1:
        ax.axhline(edge, color="black", lw=1)
        ax.axvline(edge, color="black", lw=1)
    ax.tick_params(labelsize=8)
    return ax


def over_positions(curves: pd.DataFrame, criteria: Sequence[str], even: float, ax: Axes) -> Axes:
    """Retention curves with their bands; dashed, what even dropping keeps everywhere.

    Args:
        curves: of `analysis.retention`, one layer.
        criteria: to draw.
        even: share of tokens kept.
        ax: to draw on.
    """
    lines(curves.assign(middle=(curves.bin + 0.5) / (curves.bin.max() + 1)), "middle", criteria, ax)
    ax.axhline(even, color="grey", ls="--", lw=0.8)
    ax.set(
        xlabel="position in the sequence, 0 first to 1 last", ylabel="share of tokens kept", ylim=(0, 1), xlim=(0, 1)
    )
    return ax


def grids(curves: pd.DataFrame, criteria: Sequence[str]) -> Figure:
    """Share kept at every place of the picture, one map a criterion, all on one scale.

    Args:
        curves: of `analysis.retention(axis="token")`, one layer.
        criteria: to draw.

    Raises:
        ValueError: the tokens are no square grid.
    """
    figure, axes = plt.subplots(1, len(criteria), figsize=(1.9 * len(criteria) + 0.8, 2.4), layout="constrained")
    for ax, name in zip(np.atleast_1d(axes), criteria, strict=True):
        line = curves[curves.criterion == name].sort_values("bin")["mean"].to_numpy()
        side = grid_side(len(line))
        shown = ax.imshow(line.reshape(side, side), cmap="viridis", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_title(NAMES.get(name, name), fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="share of pictures")
    return figure


def parts(summary: pd.DataFrame, criteria: Sequence[str], ax: Axes) -> Axes:
    """Content, position and rest as stacked bars.

    Args:
        summary: of `analysis.summarise_layers` over `analysis.content_position_table`, one layer or "all".
        criteria: from top to bottom.
        ax: to draw on.
    """
    wide = summary.pivot(index="criterion", columns="part", values="mean").loc[list(criteria), list(PARTS)]
    wide.iloc[::-1].rename(index=NAMES).plot.barh(stacked=True, ax=ax, color=PARTS, width=0.75)
    ax.set(xlabel="share of the variance of ranks", ylabel="", xlim=(0, 1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return ax


def scatter(frame: pd.DataFrame, x: str, y: str, ax: Axes) -> Axes:
    """One labelled point a criterion, with the interval of y.

    Args:
        frame: indexed by criterion: the columns x, y, low and high.
        x: column.
        y: column.
        ax: to draw on.
    """
    error = np.stack([frame[y] - frame.low, frame.high - frame[y]])
    ax.errorbar(frame[x], frame[y], yerr=error, fmt="o", ms=4, color="#1557b0", elinewidth=0.8)
    for turn, (name, row) in enumerate(frame.sort_values(x).iterrows()):
        text = {"xytext": (5, 4 if turn % 2 else -9), "textcoords": "offset points", "fontsize": 7}
        ax.annotate(NAMES.get(name, name), (row[x], row[y]), **text)
    return ax
