"""Figures of the Variation-Impact Theorem: frame in, Axes out, no arithmetic but that of drawing."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.plots import NAMES, lines
from analysis.statistics.grids import grid_side


def token_maps(table: pd.DataFrame, image: np.ndarray, columns: Sequence[str]) -> Figure:
    """The picture, then columns of one sample and layer over the grid of its tokens, each on its own log scale."""
    side = grid_side(len(table))
    figure, axes = plt.subplots(1, len(columns) + 1, figsize=(2.1 * (len(columns) + 1), 2.5), layout="constrained")
    axes[0].imshow(image)
    axes[0].set_title("the picture", fontsize=9)
    for ax, name in zip(axes[1:], columns, strict=True):
        shown = ax.imshow(table[name].to_numpy().reshape(side, side), cmap="viridis", norm=LogNorm())
        ax.set_title(NAMES[name], fontsize=9)
        figure.colorbar(shown, ax=ax, shrink=0.6).ax.tick_params(labelsize=7, which="both")
    for ax in axes:
        ax.set(xticks=[], yticks=[])
    return figure


def both_sides(table: pd.DataFrame, x: str, ax: Axes) -> Axes:
    """Measured impact of taking updates back against a prediction of it, with the line on which they are equal."""
    shown = table[(table[x] > 0) & (table.revert_impact > 0)]
    ax.hexbin(
        shown[x], shown.revert_impact, xscale="log", yscale="log", bins="log", gridsize=45, cmap="viridis", lw=0.1
    )
    ends = shown[[x, "revert_impact"]].min().min(), shown[[x, "revert_impact"]].max().max()
    ax.plot(ends, ends, color="crimson", lw=1)
    ax.set(xlabel=NAMES[x], ylabel=NAMES["revert_impact"])
    return ax


def by_layer(summary: pd.DataFrame, statistic: str, target: str, criteria: Sequence[str], ax: Axes) -> Axes:
    """A statistic over layers, one line and band a criterion."""
    rows = summary[(summary.statistic == statistic) & (summary.target == target) & (summary.versus == "")]
    lines(rows[rows.layer != "all"], "layer", criteria, ax)
    ax.axhline(0, color="grey", lw=0.8, ls=":")
    ax.set(xlabel="layer that wrote the update", ylabel=statistic)
    return ax


def criteria(summary: pd.DataFrame, statistic: str, targets: Sequence[str], ax: Axes) -> Axes:
    """A pooled statistic of every criterion with its interval, one colour a target."""
    rows = summary[(summary.statistic == statistic) & (summary.layer == "all") & (summary.versus == "")]
    names = [name for name in NAMES if name in set(rows.criterion)]
    for offset, color, target in zip((-0.15, 0.15), sns.color_palette("colorblind"), targets, strict=False):
        line = rows[rows.target == target].set_index("criterion").loc[names]
        error = np.stack([line["mean"] - line.low, line.high - line["mean"]])
        y = np.arange(len(names)) + offset
        ax.errorbar(line["mean"], y, xerr=error, fmt="o", ms=4, color=color, label=NAMES[target])
    ax.set(yticks=range(len(names)), yticklabels=[NAMES[name] for name in names], xlabel=statistic)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.axvline(0, color="grey", lw=0.8, ls=":")
    ax.legend(fontsize=8)
    return ax


def variance_bars(summary: pd.DataFrame, target: str, ax: Axes) -> Axes:
    """Shares of the variance of log impact, stacked by layer; negative ones (factors that work against it) below 0."""
    rows = summary[(summary.statistic == "variance_share") & (summary.target == target) & (summary.layer != "all")]
    wide = rows.pivot(index="layer", columns="criterion", values="mean").rename(columns=NAMES)
    wide.plot.bar(stacked=True, ax=ax, color=sns.color_palette("colorblind"), width=0.8, legend=False, rot=0)
    ax.axhline(0, color="black", lw=0.8)
    ax.set(xlabel="layer that wrote the update", ylabel="share of variance", title=NAMES[target])
    return ax
