"""The project in one picture: a scene, what methods keep of it, and the theorem."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.curves import overlay
from analysis.figures.theorem import both_sides
from analysis.statistics.grids import Grids, as_grids

WIDTH = 8  # inches: 1600 pixels, and legible at 800


def overview(
    image: np.ndarray,
    question: str,
    relevant: Collection[int],
    kept: Mapping[str, Collection[int]],
    grids: Grids,
    impacts: pd.DataFrame,
) -> Figure:
    """Draw the scene and three sets of kept tokens on the left, measured against predicted impact on the right.

    Args:
        image: uint8 [side, side, 3].
        question: about the scene, its title.
        relevant: patches that the question is about, framed.
        kept: three sets of ranks among the picture's tokens, by what is said over them.
        grids: the picture's grids (`Loaded.token_grids`), or the number of tokens of one square grid.
        impacts: frame of `analysis.variation_impact`.
    """
    figure = plt.figure(figsize=(WIDTH, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.05))
    axes = left.subplots(2, 2)
    n_tokens = sum(grid.n_tokens for grid in as_grids(grids))
    overlay(image, range(n_tokens), grids, axes.flat[0], relevant).set_title(question, fontsize=10)
    for ax, (name, ranks) in zip(axes.flat[1:], kept.items(), strict=True):
        overlay(image, ranks, grids, ax, relevant).set_title(name, fontsize=10)
    ax = both_sides(impacts, "predicted_impact", right.subplots())
    ax.set_title("the Variation-Impact Theorem, measured", fontsize=10)
    ax.set(xlabel="predicted impact: Jacobian norm x variation", ylabel="measured impact of a token's update")
    return figure
