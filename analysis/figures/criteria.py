"""Figures of criteria beside each other and over positions: frame in, Axes out, no arithmetic but that of drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.curves import level, lines
from analysis.figures.labels import label, look
from analysis.statistics.grids import Grids, painted

PARTS = {"content": "#1B7837", "position": "#C2A5CF", "rest": "#E8E8E8"}  # apart in grey, too


def similarity_map(square: pd.DataFrame, groups: pd.Series, ax: Axes) -> Axes:
    """How alike criteria are, in the order of their groups, with lines between these.

    Args:
        square: matrix that `analysis.agreement_matrix` returns.
        groups: group number of each criterion (`analysis.criterion_groups`).
        ax: axes to draw on.
    """
    shown = square.loc[groups.index, groups.index].rename(index=label, columns=label)
    bar = {"label": "rank correlation", "shrink": 0.8}
    sns.heatmap(shown, vmin=-1, vmax=1, cmap="vlag", annot=True, fmt=".2f", annot_kws={"size": 9}, ax=ax, cbar_kws=bar)
    for edge in np.flatnonzero(np.diff(groups.to_numpy())) + 1:
        ax.axhline(edge, color="black", lw=1)
        ax.axvline(edge, color="black", lw=1)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(labelsize=9)
    ax.tick_params(axis="x", rotation=45)
    plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    return ax


def over_positions(curves: pd.DataFrame, criteria: Sequence[str], even: float, ax: Axes) -> Axes:
    """Retention curves with their bands; dashed, what even dropping keeps everywhere.

    Args:
        curves: frame of `analysis.retention`, one layer.
        criteria: names of the criteria to draw.
        even: share of tokens kept.
        ax: axes to draw on.
    """
    level(ax, even, "kept evenly")
    lines(curves.assign(middle=(curves.bin + 0.5) / (curves.bin.max() + 1)), "middle", criteria, ax)
    ax.set(xlabel="position in the sequence", ylabel="share of tokens kept", ylim=(0, 1), xlim=(0, 1))
    ax.set_xticks([0, 0.5, 1], ["first", "0.5", "last"])
    ax.get_xticklabels()[0].set_ha("left")
    ax.get_xticklabels()[-1].set_ha("right")
    ax.label_outer()
    return ax


def retention_maps(curves: pd.DataFrame, criteria: Sequence[str], grids: Grids | None = None) -> Figure:
    """Share kept at every place of the picture, one map a criterion, all on one scale.

    Args:
        curves: frame of `analysis.retention(axis="token")`, one layer.
        criteria: names of the criteria to draw.
        grids: the picture's grids (`Loaded.token_grids`); None: one square grid.

    Raises:
        ValueError: the tokens are not those of the grids.
    """
    n_columns = min(3, len(criteria))
    n_rows = math.ceil(len(criteria) / n_columns)
    size = (2.3 * n_columns + 0.9, 2.5 * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat[len(criteria) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, criteria, strict=False):
        line = curves[curves.criterion == name].sort_values("bin")["mean"].to_numpy()
        shown = ax.imshow(painted(line, len(line) if grids is None else grids), cmap="viridis", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.set_title(label(name), fontsize=10)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="share of pictures in which a place is kept")
    return figure


def variance_parts(summary: pd.DataFrame, criteria: Sequence[str], ax: Axes) -> Axes:
    """Content, position and rest as stacked bars.

    Args:
        summary: frame of `analysis.summarise_layers` over `analysis.content_position_table`, one layer or "all".
        criteria: names of the criteria, from top to bottom.
        ax: axes to draw on.
    """
    wide = summary.pivot(index="criterion", columns="part", values="mean").loc[list(criteria), list(PARTS)]
    wide.iloc[::-1].rename(index=label).plot.barh(stacked=True, ax=ax, color=PARTS, width=0.75)
    ax.set(xlabel="share of the variance of ranks", ylabel="", xlim=(0, 1))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    sns.despine(ax=ax)
    return ax


def criterion_scatter(frame: pd.DataFrame, x: str, y: str, ax: Axes) -> Axes:
    """One point a criterion, with the interval of y; their names are in a legend beside, from top to bottom.

    Args:
        frame: indexed by criterion: the columns x, y, low and high.
        x: column.
        y: column.
        ax: axes to draw on.
    """
    for name, row in frame.sort_values(y, ascending=False).iterrows():
        spread = [[row[y] - row.low], [row.high - row[y]]]
        ax.errorbar(row[x], row[y], yerr=spread, ms=7, elinewidth=1, **look(name).point())
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
    sns.despine(ax=ax)
    return ax
