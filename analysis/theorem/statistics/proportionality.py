"""Is the impact proportional to the bound: one constant c for all tokens of a layer, the theorem's second reading."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analysis.statistics.frames import in_order
from analysis.theorem.statistics.impact_table import PREDICTED, Prediction, checked_impacts
from v2drop.arguments import seed_number, whole_number

STATISTICS = ("slope", "r2", "r2_of_slope_1", "spread", "constant")
Weights = Float[np.ndarray, "resamples samples"]
Numbers = Float[np.ndarray, " tokens"]


def proportionality(table: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    r"""Fits of log impact on log prediction over the tokens of all samples, by layer and over all layers.

    If :math:`\|\Delta f_j\| \approx c \, \|J_j\|_2 \|\Delta x_j\|` with one c, then the slope is 1 and the ratio hardly
    varies. The statistics:

    - slope, r2: of the least-squares line through log impact against log prediction.
    - r2_of_slope_1: 1 - var(log ratio) / var(log impact), what proportionality itself explains; it can be negative.
    - spread: the 90th over the 10th percentile of the ratio impact / prediction.
    - constant: c, the geometric mean of the ratio.

    The predictions: the bound itself (predicted_impact, or predicted_answer for the answer); the bound with the mean of
    the Jacobian's norms over the tokens of a sample and layer in place of each norm, which is V2Drop's criterion up to
    that factor; and with the mean of the updates' norms in place of each.

    Args:
        table: The frame of `variation_impact` for several samples.
        resamples: The number of bootstrap resamples of samples with all their tokens (the pairs cluster bootstrap of
            Cameron, Gelbach and Miller 2008).
        seed: Their seed.

    Returns:
        One row per (layer, target, prediction, statistic): these, value, low and high (95 %; NaN for a single sample),
        samples, tokens. `layer` is a number or "all". Tokens at which impact or prediction is 0 are left out; NaN where
        fewer than three are left or the prediction does not vary.

    Raises:
        ValueError: The table is not that frame, or an argument is out of range.
    """
    resamples, rng = whole_number("resamples", resamples, 1), np.random.default_rng(seed_number(seed))
    table = in_order(checked_impacts(table), ["sample", "layer", "token"])
    samples = np.unique(table["sample"].astype(str))
    drawn = rng.multinomial(len(samples), np.full(len(samples), 1 / len(samples)), resamples).astype(float)
    rows = []
    for target, prediction in PREDICTED.items():
        for name, predicted in _predictions(table, prediction):
            rows += [(target, name, *row) for row in _by_layer(table, table[target], predicted, samples, drawn)]
    columns = ["target", "prediction", "layer", "statistic", "value", "low", "high", "samples", "tokens"]
    return pd.DataFrame(rows, columns=columns)[[columns[2], *columns[:2], *columns[3:]]]


def _predictions(table: pd.DataFrame, prediction: Prediction) -> Iterator[tuple[str, pd.Series]]:
    means = table.groupby(["sample", "layer"])[[prediction.norm, "variation_l2"]].transform("mean")
    yield "bound", table[prediction.bound]
    yield "mean Jacobian", means[prediction.norm] * table.variation_l2
    yield "mean update", table[prediction.norm] * means.variation_l2


def _by_layer(
    table: pd.DataFrame, impact: pd.Series, predicted: pd.Series, samples: np.ndarray, drawn: Weights
) -> Iterator[tuple]:
    usable = ((impact > 0) & (predicted > 0)).to_numpy()
    layer = table.layer.to_numpy()[usable]
    place = np.searchsorted(samples, table["sample"].astype(str).to_numpy()[usable])
    x, y = (np.log(values.to_numpy()[usable]) for values in (predicted, impact))
    for name in [*np.unique(layer), "all"] if len(layer) else []:
        own = slice(None) if name == "all" else layer == name
        present = len(np.unique(place[own]))
        statistics = (x[own], y[own], place[own])
        value = _fits(*statistics, np.ones((1, len(samples))))[:, 0]
        low, high = np.full((2, len(STATISTICS)), np.nan)
        if present > 1 and not np.isnan(value[0]):
            low, high = np.nanpercentile(_fits(*statistics, drawn), [2.5, 97.5], axis=1)
        for each in zip(STATISTICS, value, low, high, strict=True):
            yield (name, *each, present, len(x[own]))


def _fits(
    x: Numbers, y: Numbers, place: Int[np.ndarray, " tokens"], weights: Weights
) -> Float[np.ndarray, "statistics resamples"]:
    """The statistics of tokens that count as often as their sample was drawn."""
    if len(x) < 3 or np.ptp(x) == 0:
        return np.full((len(STATISTICS), len(weights)), np.nan)
    shift_x, shift_y = x.mean(), y.mean()  # so that squares do not cancel
    u, v = x - shift_x, y - shift_y
    moments = np.stack([np.ones_like(x), u, v, u * u, u * v, v * v])
    sums = np.stack([np.bincount(place, each, weights.shape[1]) for each in moments])
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may hold no token, or equal ones
        n, *means = sums @ weights.T
        mean_x, mean_y, xx, xy, yy = (total / n for total in means)
        xx, xy, yy = xx - mean_x**2, xy - mean_x * mean_y, yy - mean_y**2
        ratio_variance = yy - 2 * xy + xx
        low, high = (_quantiles(y - x, place, weights, share) for share in (0.1, 0.9))
        constant = np.exp(mean_y + shift_y - mean_x - shift_x)
        return np.stack([xy / xx, xy**2 / (xx * yy), 1 - ratio_variance / yy, np.exp(high - low), constant])


def _quantiles(
    values: Numbers, place: Int[np.ndarray, " tokens"], weights: Weights, share: float
) -> Float[np.ndarray, " resamples"]:
    """The smallest value that at least this share of the drawn tokens does not exceed."""
    order = np.argsort(values, kind="stable")
    values, place = values[order], place[order]
    found = np.full(len(weights), np.nan)
    for i, weight in enumerate(weights):
        below = np.cumsum(weight[place])
        if below[-1] > 0:
            found[i] = values[np.searchsorted(below, share * below[-1] * (1 - 1e-12))]
    return found
