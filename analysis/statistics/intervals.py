"""Frames of means over independent units with their intervals: of proportions, or of any numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from analysis.statistics.frames import checked, in_order
from analysis.statistics.lists import among, name, names
from analysis.statistics.proportions import proportion_interval
from analysis.statistics.studentised import bootstrap_interval
from v2drop.arguments import flag

MEANS = ["mean", "low", "high", "n"]  # columns of every frame of means


def mean_interval(values: np.ndarray, shares: bool = False) -> tuple[float, float, float, int]:
    """Mean over the units for which a value exists, ends of its 95 % interval, their number.

    The interval is that of `proportion_interval` for shares, and of `bootstrap_interval` for numbers: none (NaN) where
    all are equal.

    Args:
        values: Numbers from independent units, NaN where the statistic does not exist. Without any other, mean and
            interval are NaN and the number is 0.
        shares: Whether they are shares in [0, 1].
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan, np.nan, 0
    ends = proportion_interval(values) if shares else bootstrap_interval(values)
    return float(np.mean(values)), *ends, len(values)


def mean_by_group(
    frame: pd.DataFrame, by: Sequence[str], value: str, unit: Sequence[str] = (), shares: bool = False
) -> pd.DataFrame:
    """Mean of a column in each group, with its interval over the rows of the group (`mean_interval`).

    Args:
        frame: A frame with one row per independent unit.
        by: The columns that tell groups apart.
        value: The column that is averaged. A column of True and False holds proportions, whatever their values; one of
            numbers, 0 and 1 among them, does not.
        unit: The columns that tell units of one group apart; none if every row is one. With them the interval does not
            depend on the order of rows, which otherwise decides what is drawn together.
        shares: Whether numbers are shares in [0, 1], such as of a unit's draws or tokens.

    Returns:
        One row per group: `by`, mean, low, high (95 %; NaN for a single row, and for numbers that are all equal), n
        (rows).

    Raises:
        ValueError: The frame is empty or lacks a column, a number is missing, a share is not in [0, 1], or a unit is in
            a group twice.
    """
    by, unit, value = names("by", by, besides=[*MEANS, value]), names("unit", unit, least=0), name("value", value)
    columns = {**dict.fromkeys([*by, *unit], "label"), value: "truth or number"}
    frame = checked(frame, "frame", columns, [*by, *unit] if unit else [])
    shares = flag("shares", shares) or frame[value].dtype == bool
    groups = frame.groupby(list(by), sort=False)
    rows = [(*key, *mean_interval(in_order(group, unit)[value].to_numpy(dtype=float), shares)) for key, group in groups]
    return pd.DataFrame(rows, columns=[*by, *MEANS])


def summarise_layers(values: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Means over samples with 95 % intervals, for each layer and for the mean over a sample's layers ("all").

    Args:
        values: A frame with the columns sample, layer, value, chance and the keys.
        keys: The columns that tell rows of one sample and layer apart.

    Returns:
        One row per layer and keys: layer, the keys, mean, low, high (NaN for a single sample, and where all samples
        have the same value), n (samples), chance.

    Raises:
        ValueError: The frame is empty or lacks a column, a number is missing, or a row of one sample, layer and keys is
            there twice.
    """
    keys = names("keys", keys, least=0, besides=["sample", "layer", "value", "chance", *MEANS])
    values = _checked_values(values, keys, ["value", "chance"])
    values = in_order(values[["sample", "layer", *keys, "value", "chance"]], ["layer", "sample"])
    pooled = values.groupby(["sample", *keys], sort=False)[["value", "chance"]].mean().reset_index()
    both = pd.concat([values.astype({"layer": object}), pooled.assign(layer="all")])
    means = mean_by_group(both, ["layer", *keys], "value", unit=["sample"])
    chance = both.groupby(["layer", *keys], sort=False).chance.mean().reset_index()
    return means.merge(chance, on=["layer", *keys])


def criterion_minus_baseline(values: pd.DataFrame, baseline: Hashable, keys: Sequence[str]) -> pd.DataFrame:
    """Every criterion's value minus that of a baseline on the same sample and layer, for `summarise_layers`.

    Args:
        values: A frame with the columns sample, layer, criterion, value and the keys.
        baseline: The criterion that is subtracted.
        keys: The columns that tell rows of one sample, layer and criterion apart.

    Returns:
        One row per row of another criterion that has a baseline: sample, layer, the keys, criterion, value (the
        difference), chance (0).

    Raises:
        ValueError: `baseline` is not a criterion of the frame, or the only one on any sample and layer. The frame is
            not one for `summarise_layers`.
    """
    keys = names("keys", keys, least=0, besides=["sample", "layer", "criterion", "value", "chance"])
    values, on = _checked_values(values, ["criterion", *keys], ["value"]), ["sample", "layer", *keys]
    values, baseline = values[[*on, "criterion", "value"]], among("baseline", baseline, values.criterion)
    base = values[values.criterion == baseline].set_index(on).value.rename("base")
    both = values[values.criterion != baseline].join(base, on=on, how="inner")
    if both.empty:
        raise ValueError(
            f"there must be another criterion beside {baseline!r} on the same samples and layers; got none."
        )
    return both.assign(value=both.value - both.base, chance=0.0)[[*on, "criterion", "value", "chance"]]


def _checked_values(values: pd.DataFrame, keys: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    columns = {"sample": "label", "layer": "counted"} | dict.fromkeys(keys, "label") | dict.fromkeys(numbers, "number")
    return checked(values, "values", columns, ["sample", "layer", *keys])
