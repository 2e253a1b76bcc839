"""Tokens with massive activations (attention sinks): which they are, and statistics with and without them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.statistics.token_tables import checked_table

TIMES_THE_MEDIAN = 10.0  # a massive activation has more than this multiple of the median norm of its sample and layer
ATTENTION = 0.2  # a sink has more than this share of the last token's attention


def sink_tokens(table: pd.DataFrame) -> pd.DataFrame:
    """Tokens whose norm exceeds ten times the median of their sample and layer, or whose attention share exceeds 0.2.

    Args:
        table: The frame of `variation_impact`.

    Returns:
        One row per such (sample, layer, token): these, token_norm, norm_ratio (token_norm over the median),
        attention_last. No row if there is none.

    Raises:
        ValueError: The table is not that frame.
    """
    table = _with_ratio(table)
    columns = ["sample", "layer", "token", "token_norm", "norm_ratio", "attention_last"]
    return table.loc[is_sink(table), columns].reset_index(drop=True)


def with_and_without_sinks(table: pd.DataFrame, statistic: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """A statistic of the table, and the same with the tokens of `sink_tokens` left out.

    Args:
        table: The frame of `variation_impact`.
        statistic: A function of it, such as `summarise_impact` or `proportionality`.

    Returns:
        What the function returns for both, one below the other, and the column sinks: "with" or "without".

    Raises:
        ValueError: The table is not that frame, or as the function does.
    """
    sinks = is_sink(_with_ratio(table)).to_numpy()
    both = statistic(table)
    without = statistic(table[~sinks]) if sinks.any() else both
    return pd.concat([both.assign(sinks="with"), without.assign(sinks="without")], ignore_index=True)


def is_sink(table: pd.DataFrame) -> pd.Series:
    """Whether each token is a sink, from the columns norm_ratio and attention_last."""
    return (table.norm_ratio > TIMES_THE_MEDIAN) | (table.attention_last > ATTENTION)


def norm_ratio(table: pd.DataFrame) -> pd.Series:
    """Each token's norm over the median of its sample and layer."""
    return table.token_norm / table.groupby(["sample", "layer"]).token_norm.transform("median")


def _with_ratio(table: pd.DataFrame) -> pd.DataFrame:
    table = checked_table(table, {"token_norm": "number", "attention_last": "number or NaN"})
    return table.assign(norm_ratio=norm_ratio(table))
