"""Frame in, Axes out: no arithmetic but that of drawing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from analysis.scenes.drawing import GRID
from analysis.statistics.grids import grid_side

NAMES = {
    "variation_l2": "variation (L2)",
    "variation_l1": "variation (L1)",
    "variation_cosine": "variation (cosine)",
    "variation_relative_l2": "variation (relative L2)",
    "variation_transition": "transition (TransPrune)",
    "operator_norm": "Jacobian norm",
    "predicted_impact": "norm x variation",
    "first_order_impact": "|J dx|",
    "attention_last": "attention of last token",
    "attention_text": "attention of all text",
    "attention_debiased": "attention, de-biased",
    "key_norm": "key norm",
    "token_norm": "token norm",
    "random": "random",
    "variation_l2 permuted": "variation, permuted",
    "predicted_impact permuted": "norm x permuted variation",
    "revert_impact": "revert impact",
    "drop_impact": "drop impact",
    "alignment": "alignment",
    "beyond_first_order": "beyond first order",
}


def lines(rows: pd.DataFrame, x: str, criteria: Sequence[str], ax: Axes) -> Axes:
    """Mean against a column, one line and band a criterion.

    Args:
        rows: criterion, mean, low, high and the column x.
        x: numbers.
        criteria: to draw, in the order of their colours.
        ax: to draw on.
    """
    for colour, name in zip(sns.color_palette("colorblind"), criteria, strict=False):
        line = rows[rows.criterion == name]
        ax.plot(line[x].astype(float), line["mean"], marker="o", ms=3, color=colour, label=NAMES.get(name, name))
        ax.fill_between(line[x].astype(float), line.low, line.high, color=colour, alpha=0.2, lw=0)
    return ax


def accuracy_curve(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy against retained tokens, one line per method, its interval as a band; dashed at a single budget.

    Args:
        summary: columns method, budget, mean, low, high (shares), as `analysis.summarise_accuracy` gives them.
        ax: to draw on.
    """
    ax = ax or plt.subplots(figsize=(7, 4.2), layout="constrained")[1]
    styles = iter(zip(sns.color_palette("deep"), "osD^vPX*ph", strict=True))
    for name, line in summary.groupby("method", sort=False):
        if len(line) == 1:  # the model itself: a level to compare with, not a curve
            ax.axhline(line["mean"].item(), color="0.4", linestyle="--", linewidth=1, label=name)
            continue
        colour, marker = next(styles)
        ax.fill_between(line.budget, line.low, line.high, color=colour, alpha=0.12, linewidth=0)
        ax.plot(line.budget, line["mean"], marker=marker, markersize=5, color=colour, label=name)
    ax.set(xlabel="vision tokens retained (true layer average)", ylabel="held-out questions right", ylim=(0, 1.03))
    ax.set_xscale("log", base=2)
    ticks = sorted(summary.budget[summary.method.duplicated(keep=False)].unique())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    sns.despine(ax=ax)
    return ax


def overlay(image: np.ndarray, kept: Collection[int], n_tokens: int, ax: Axes, relevant: Collection[int] = ()) -> Axes:
    """A mosaic in which the dropped tokens are dark; the patches a question is about are framed.

    Args:
        image: uint8 [side, side, 3].
        kept: ranks of the kept tokens among the picture's `n_tokens`, a square grid row by row.
        n_tokens: of the whole picture; other models cut it finer than a mosaic's 12 x 12.
        ax: to draw on.
        relevant: patches of the mosaic to frame.

    Raises:
        ValueError: the tokens are no square grid.
    """
    side = grid_side(n_tokens)
    shade = np.ones((side, side))
    shade.flat[list(kept)] = 0
    extent = (0, GRID, GRID, 0)
    ax.imshow(image, extent=extent)
    ax.imshow(np.zeros((side, side)), extent=extent, alpha=0.78 * shade, cmap="gray", vmin=0, vmax=1)
    for patch in relevant:
        ax.add_patch(plt.Rectangle((patch % GRID, patch // GRID), 1, 1, fill=False, edgecolor="#ffd400", linewidth=1))
    ax.set(xticks=[], yticks=[])
    return ax
