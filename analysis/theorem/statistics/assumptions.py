"""Where the theorem's assumptions fail: tokens grouped by the size of their Jacobian, their norm and their layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.statistics.intervals import mean_interval
from analysis.statistics.token_tables import checked_table
from analysis.theorem.statistics.sinks import is_sink, norm_ratio

TENTH = 0.1
NUMBERS = ("first_order_impact", "revert_impact", "predicted_impact", "operator_norm", "token_norm")
MEASURED_SOMETIMES = ("gain_ratio", "top_cosine", "taylor_slope", "attention_last")
GROUP_STATISTICS = ["tokens", "bound_holds", "linear_error", "gain_ratio", "top_cosine", "taylor_slope"]


def theorem_by_group(table: pd.DataFrame) -> pd.DataFrame:
    """How well the theorem holds in groups of tokens that strain its assumptions; groups may overlap.

    The groups: all tokens; the tenths with the smallest and with the largest Jacobians of their sample and layer;
    sinks (`sink_tokens`); the first layer; the last layer in which a token has an impact. Later layers are left out.

    Args:
        table: The frame of `variation_impact` for several samples.

    Returns:
        One row per group and statistic: group, statistic, mean over samples, low and high (95 %; NaN where all equal),
        samples (how many have such tokens). The statistics, each over the tokens of a sample: tokens (how many),
        bound_holds (share with revert_impact <= predicted_impact), linear_error (median of |revert_impact /
        first_order_impact - 1|), gain_ratio and top_cosine (medians), taylor_slope (median of the measured slopes).

    Raises:
        ValueError: The table is not that frame, or no token in it has an impact.
    """
    table = checked_table(table, dict.fromkeys(NUMBERS, "number") | dict.fromkeys(MEASURED_SOMETIMES, "number or NaN"))
    table = table.assign(norm_ratio=norm_ratio(table))
    table = table[table.first_order_impact > 0]
    if table.empty:
        raise ValueError("the table must hold tokens with an impact; behind its layers no token has any.")
    measured = table.assign(
        bound_holds=(table.revert_impact <= table.predicted_impact).astype(float),
        linear_error=(table.revert_impact / table.first_order_impact - 1).abs(),
    )
    rows = [row for name, chosen in _groups(table) for row in _group_rows(name, measured[chosen])]
    return pd.DataFrame(rows, columns=["group", "statistic", "mean", "low", "high", "samples"])


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    within = table.groupby(["sample", "layer"])
    rank = within.operator_norm.rank(pct=True)
    yield "all tokens", pd.Series(True, table.index)
    yield "smallest Jacobian (tenth)", rank <= TENTH
    yield "largest Jacobian (tenth)", rank > 1 - TENTH
    yield "sinks", is_sink(table)
    yield "first layer", table.layer == table.layer.min()
    yield "last layer that matters", table.layer == table.layer.max()


def _group_rows(name: str, chosen: pd.DataFrame) -> Iterator[tuple]:
    samples = chosen.groupby("sample")
    values = (
        samples[GROUP_STATISTICS[2:]].median().assign(bound_holds=samples.bound_holds.mean(), tokens=samples.size())
    )
    if values.empty:
        yield name, "tokens", 0.0, np.nan, np.nan, 0
        return
    for statistic in GROUP_STATISTICS:
        numbers = values[statistic].dropna().to_numpy(dtype=float)
        if len(numbers):
            yield name, statistic, *mean_interval(numbers, shares=statistic == "bound_holds")
