"""Means over independent units with their bootstrap intervals, and paired differences of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap


def bootstrap_interval(values: np.ndarray, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval (percentile, 2000 resamples) of the mean; a single point where all values are equal.

    Of few values it is somewhat short: of ten normal ones it covers the mean in 89 % of cases rather than 95 %.

    Raises:
        ValueError: there are no values, or some are NaN.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0 or np.isnan(values).any():
        raise ValueError(
            f"values must be numbers, at least one; got {values.size}, {np.isnan(values).sum()} of them NaN."
        )
    if (values == values[0]).all():
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", confidence_level=level, rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def mean_interval(values: np.ndarray) -> tuple[float, float, float, int]:
    """Mean, its 95 % bootstrap interval (NaN of a single sample, which says nothing about others), and how many."""
    low, high = bootstrap_interval(values) if len(values) > 1 else (np.nan, np.nan)
    return float(np.mean(values)), low, high, len(values)


def mean_by_group(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean of a column in each group, with its interval over the rows of the group (`mean_interval`).

    Args:
        frame: one row per independent unit.
        by: columns that tell the groups apart.
        value: the column to average.

    Returns:
        One row per group: `by`, mean, low, high, n (rows).
    """
    groups = frame.groupby(list(by), sort=False)[value]
    rows = [(*key, *mean_interval(group.to_numpy(dtype=float))) for key, group in groups]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def summarise_layers(values: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Means over samples with 95 % bootstrap intervals, layer by layer and for a sample's mean over layers ("all").

    Args:
        values: with the columns sample, layer, value, chance and the keys, one row for each of them.
        keys: what tells rows of a sample and layer apart.

    Returns:
        layer, the keys, mean, low, high, n (samples), chance.
    """
    pooled = values.groupby(["sample", *keys], sort=False)[["value", "chance"]].mean().reset_index()
    both = pd.concat([values.astype({"layer": object}), pooled.assign(layer="all")])
    found = mean_by_group(both, ["layer", *keys], "value")
    chance = both.groupby(["layer", *keys], sort=False).chance.mean().reset_index()
    return found.merge(chance, on=["layer", *keys])


def criterion_minus_baseline(values: pd.DataFrame, baseline: str, keys: Sequence[str]) -> pd.DataFrame:
    """Every criterion's value minus the baseline's of the same sample and layer, for `summarise_layers`.

    Args:
        values: with the columns sample, layer, criterion, value and the keys.
        baseline: a criterion.
        keys: what tells rows of a sample, layer and criterion apart.

    Returns:
        sample, layer, the keys, criterion, value (the difference), chance (0); where there is a baseline.

    Raises:
        ValueError: `baseline` is not in the frame.
    """
    if baseline not in set(values.criterion):
        raise ValueError(f"baseline must be one of {', '.join(values.criterion.unique())}; got {baseline!r}.")
    on = ["sample", "layer", *keys]
    base = values[values.criterion == baseline].set_index(on).value.rename("base")
    both = values[values.criterion != baseline].join(base, on=on, how="inner")
    return both.assign(value=both.value - both.base, chance=0.0)[[*on, "criterion", "value", "chance"]]
