"""Lines over layers, positions and budgets, and pictures with dropped tokens dark; no arithmetic but of drawing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from analysis.figures.labels import look
from analysis.scenes.drawing import PATCH
from analysis.scenes.mosaic import SIDE
from analysis.statistics.grids import Grids, as_grids, painted
from v2drop.arguments import one_of, whole_number


def lines(rows: pd.DataFrame, x: str, criteria: Sequence[str], ax: Axes) -> Axes:
    """Mean against a column, one line a criterion, its interval as a band.

    Args:
        rows: criterion, mean, low, high and the column x.
        x: numbers.
        criteria: names of the criteria to draw, in the order of the legend.
        ax: axes to draw on.
    """
    for name in criteria:
        line = rows[rows.criterion == name]
        at, style = line[x].astype(float), look(name)
        ax.fill_between(at, line.low.astype(float), line.high.astype(float), color=style.colour, alpha=0.15, lw=0)
        ax.plot(at, line["mean"], markersize=4, linewidth=1.4, **style.line())
    return ax


def lines_with_error_bars(rows: pd.DataFrame, x: str, criteria: Sequence[str], ax: Axes, step: float) -> Axes:
    """Draw what `lines` draws where bands would hide each other: intervals as bars, side by side.

    Args:
        rows: criterion, mean, low, high and the column x.
        x: numbers.
        criteria: names of the criteria to draw, in the order of the legend.
        ax: axes to draw on.
        step: between neighbours at one x, in units of x.
    """
    for i, name in enumerate(criteria):
        line = rows[rows.criterion == name]
        at = line[x].astype(float) + step * (i - (len(criteria) - 1) / 2)
        spread = np.abs(line[["low", "high"]].to_numpy(float).T - line["mean"].to_numpy(float))
        sizes = {"markersize": 5, "linewidth": 1.2, "elinewidth": 1.2, "capsize": 2}
        ax.errorbar(at, line["mean"], yerr=spread, **sizes, **look(name).line())
    ax.set_xticks(sorted(rows[x].astype(float).unique()))
    return ax


def level(ax: Axes, at: int | float, name: str | None = None, axis: str = "y") -> Axes:
    """Draw a value to compare with across an axes, thin and dotted; dashed, and in the legend, if it has a name.

    Raises:
        ValueError: `axis` is neither "x" nor "y".
    """
    draw = ax.axhline if one_of("axis", axis, ("x", "y")) == "y" else ax.axvline
    draw(at, color="0.45", linewidth=1, linestyle="--" if name else ":", label=name, zorder=0)
    return ax


def accuracy_curve(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy against retained tokens on a log scale, one line a method with intervals; dashed at one budget.

    Args:
        summary: columns method, budget, mean, low, high (shares), as `analysis.summarise_accuracy` gives them.
        ax: axes to draw on.
    """
    ax = ax or plt.subplots(figsize=(7.6, 4.6), layout="constrained")[1]
    for name, line in summary.groupby("method", sort=False):
        if len(line) == 1:  # the model itself: a level to compare with, not a curve
            level(ax, line["mean"].item(), name)
    curves = summary[summary.method.duplicated(keep=False)].rename(columns={"method": "criterion"})
    curves = curves.assign(octave=np.log2(curves.budget))
    lines_with_error_bars(curves, "octave", [*curves.criterion.unique()], ax, step=0.035)
    ticks = curves[["octave", "budget"]].drop_duplicates().sort_values("octave")
    ax.set_xticks(ticks.octave, [f"{budget:g}" for budget in ticks.budget])
    ax.set(xlabel="vision tokens retained (true layer average)", ylabel="held-out questions right")
    ax.set_ylim(max(0, np.floor(10 * summary.low.min()) / 10), 1.02)  # where the curves are, not the empty half below
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.grid(alpha=0.25)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False, fontsize=9, handlelength=3)
    sns.despine(ax=ax)
    return ax


def overlay(
    image: np.ndarray,
    kept: Collection[int],
    grids: Grids,
    ax: Axes,
    relevant: Collection[int] = (),
    grid: int = SIDE // PATCH,
) -> Axes:
    """A mosaic in which the dropped tokens are dark; the patches a question is about are framed.

    Args:
        image: uint8 [side, side, 3].
        kept: ranks of the kept tokens among the picture's.
        grids: the picture's grids (`Loaded.token_grids`), or the number of tokens of one square grid. Where several lie
            over each other, a place is the darker, the more of its tokens are dropped.
        ax: axes to draw on.
        relevant: patches of the mosaic to frame.
        grid: the number of the mosaic's patches in a row (`Scene.grid`).

    Raises:
        ValueError: a number of tokens is no square number, or a kept token or relevant patch is not the picture's.
    """
    n_tokens = sum(grid.n_tokens for grid in as_grids(grids))
    kept = [whole_number("each of kept", rank, 0, n_tokens - 1) for rank in kept]  # -1 would be the last one
    relevant = [whole_number("each of relevant", patch, 0, grid**2 - 1) for patch in relevant]
    dropped = np.ones(n_tokens)
    dropped[kept] = 0
    shade = np.nan_to_num(painted(dropped, grids))
    extent = (0, grid, grid, 0)
    ax.imshow(image, extent=extent)
    ax.imshow(np.zeros(shade.shape), extent=extent, alpha=0.78 * shade, cmap="gray", vmin=0, vmax=1)
    for patch in relevant:
        ax.add_patch(plt.Rectangle((patch % grid, patch // grid), 1, 1, fill=False, edgecolor="#ffd400", linewidth=1))
    ax.set(xticks=[], yticks=[])
    return ax
