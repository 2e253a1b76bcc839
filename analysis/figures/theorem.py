"""Figures of the Variation-Impact Theorem: frame in, Axes out, no arithmetic but that of drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.figures.curves import level, lines
from analysis.figures.display import PAGE_WIDTH
from analysis.figures.labels import CRITERIA, STATISTICS, label, look
from analysis.statistics.grids import Grids, painted
from analysis.statistics.lists import names

BESIDE = (-0.17, 0.17)  # where the markers of two targets stand, in rows


def token_maps(table: pd.DataFrame, image: np.ndarray, columns: Sequence[str], grids: Grids | None = None) -> Figure:
    """The picture, then columns of one sample and layer over the grid of its tokens, each on its own log scale.

    Args:
        table: frame with one row per token, in the order of the grid.
        image: uint8 [side, side, 3].
        columns: columns of the table to draw, all positive; each map shows its smallest and largest value.
        grids: the picture's grids (`Loaded.token_grids`); None: one square grid.

    Raises:
        ValueError: the tokens are not those of the grids.
    """
    grids = len(table) if grids is None else grids
    n_rows = math.ceil((len(columns) + 1) / 4)
    n_columns = math.ceil((len(columns) + 1) / n_rows)
    size = (PAGE_WIDTH * n_columns / 4, 2.7 * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.set_axis_off()
    axes.flat[0].imshow(image)
    axes.flat[0].set_title("the picture", fontsize=10)
    for ax, name in zip(axes.flat[1:], columns, strict=False):
        values = table[name].to_numpy(float)
        shown = ax.imshow(painted(values, grids), cmap="viridis", norm=LogNorm())
        ax.set_title(label(name), fontsize=10)
        bar = figure.colorbar(shown, ax=ax, orientation="horizontal", shrink=0.9, aspect=16, pad=0.02)
        bar.minorticks_off()
        bar.set_ticks([values.min(), values.max()], labels=[f"{values.min():.2g}", f"{values.max():.2g}"])
        bar.ax.tick_params(labelsize=9, length=0)
        bar.ax.get_xticklabels()[0].set_ha("left")
        bar.ax.get_xticklabels()[1].set_ha("right")
    return figure


def both_sides(table: pd.DataFrame, x: str, ax: Axes) -> Axes:
    """Measured impact of taking updates back against a prediction of it, with the line on which they are equal.

    Args:
        table: frame of `analysis.variation_impact`; rows with a value that is not positive are left out.
        x: column of the prediction.
        ax: axes to draw on; a colour bar beside them gives the number of tokens in a hexagon.
    """
    shown = table[(table[x] > 0) & (table.revert_impact > 0)]
    drawn = ax.hexbin(
        shown[x], shown.revert_impact, xscale="log", yscale="log", bins="log", gridsize=45, cmap="viridis", lw=0.1
    )
    ax.get_figure(root=False).colorbar(drawn, ax=ax, label="tokens in a hexagon", pad=0.02)
    ends = shown[[x, "revert_impact"]].min().min(), shown[[x, "revert_impact"]].max().max()
    ax.plot(ends, ends, color="black", lw=1.2, ls="--", label="prediction = measurement")
    ax.set(xlabel=label(x), ylabel=label("revert_impact"))
    ax.legend(loc="upper left", frameon=False, fontsize=9)
    return ax


def by_layer(
    summary: pd.DataFrame, statistic: str, target: str, criteria: Sequence[str], ax: Axes, tokens: str = "all"
) -> Axes:
    """A statistic over layers, one line and band a criterion.

    Args:
        summary: frame of `analysis.summarise_impact`.
        statistic: value of the summary's column `statistic`.
        target: value of the summary's column `target`.
        criteria: values of the summary's column `criterion`, in the order of the legend.
        ax: axes to draw on.
        tokens: value of the summary's column `tokens`.
    """
    rows = _rows(summary, statistic, tokens)
    rows = rows[rows.target == target]
    lines(rows[rows.layer != "all"], "layer", criteria, level(ax, 0))
    ax.set(xlabel="layer that wrote the update", ylabel=STATISTICS.get(statistic, statistic), title=label(target))
    ax.label_outer()
    return ax


def criterion_bars(
    summary: pd.DataFrame, statistic: str, targets: Sequence[str], ax: Axes, tokens: str = "all"
) -> Axes:
    """A pooled statistic of every criterion with its interval, one marker a target.

    Args:
        summary: frame of `analysis.summarise_impact`.
        statistic: value of the summary's column `statistic`.
        targets: one or two values of the summary's column `target`.
        ax: axes to draw on.
        tokens: value of the summary's column `tokens`.

    Raises:
        ValueError: there are other numbers of targets.
    """
    targets = names("targets", targets)
    if len(targets) > len(BESIDE):
        raise ValueError(f"targets must be one or two; got {targets}.")
    rows = _rows(summary, statistic, tokens)
    rows = rows[rows.layer == "all"]
    criteria = [name for name in CRITERIA if name in set(rows.criterion)]
    for offset, target in zip(BESIDE, targets, strict=False):
        line = rows[rows.target == target].set_index("criterion").loc[criteria]
        error = np.stack([line["mean"] - line.low, line.high - line["mean"]])
        ax.errorbar(line["mean"], np.arange(len(criteria)) + offset, xerr=error, ms=4, **look(target).point())
    ax.set(yticks=range(len(criteria)), yticklabels=map(label, criteria), xlabel=STATISTICS.get(statistic, statistic))
    ax.set_ylim(len(criteria) - 0.5, -0.5)
    ax.grid(axis="y", alpha=0.25)
    return level(ax, 0, axis="x")


def variance_shares(summary: pd.DataFrame, target: str, ax: Axes) -> Axes:
    """Shapley (LMG) shares of the variance of log impact by layer, one line and band a factor; they add up to 1.

    Args:
        summary: frame of `analysis.summarise_impact`.
        target: whose impact.
        ax: axes to draw on.
    """
    rows = _rows(summary, "lmg_share", "all")
    by_layer(summary, "lmg_share", target, list(rows[rows.target == target].criterion.unique()), ax)
    return level(ax, 1)


def _rows(summary: pd.DataFrame, statistic: str, tokens: str) -> pd.DataFrame:
    """The rows of one statistic of some tokens that are no differences."""
    return summary[(summary.statistic == statistic) & (summary.tokens == tokens) & (summary.versus == "")]
