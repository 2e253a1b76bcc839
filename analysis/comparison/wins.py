"""Which of many paired differences are significant: counts of wins and losses, and a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.statistics.frames import checked
from v2drop.arguments import share


def win_counts(differences: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """The number of other methods that each method beats and is beaten by, at every budget.

    Args:
        differences: The frame of `pairwise_differences`.
        level: The value of q below which a difference counts.

    Returns:
        One row per budget and method: budget, method, beats, beaten, net (beats - beaten); the largest budget first,
        in it the largest net.

    Raises:
        ValueError: The frame is empty, lacks a column or has a pair twice, or `level` is not in [0, 1].
    """
    level, differences = share("level", level), _checked_differences(differences, ["budget"])
    both = pd.concat(
        [
            differences.rename(columns={"first": "method"}),
            differences.assign(difference=-differences.difference).rename(columns={"second": "method"}),
        ]
    )
    sure = both.q < level
    both = both.assign(beats=sure & (both.difference > 0), beaten=sure & (both.difference < 0))
    table = both.groupby(["budget", "method"], sort=False)[["beats", "beaten"]].sum().reset_index()
    table = table.assign(net=table.beats - table.beaten)
    return table.sort_values(["budget", "net"], ascending=False, kind="stable").reset_index(drop=True)


def significant_pairs(differences: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Pairs in both orders, as a matrix needs them, with NaN for differences that are not significant.

    Args:
        differences: The frame of `pairwise_differences` for one budget.
        level: The value of q below which a difference is significant.

    Returns:
        The same columns, with every pair also as second against first.

    Raises:
        ValueError: The frame is empty, lacks a column or has a pair twice, as at two budgets, or `level` is not in
            [0, 1].
    """
    level, differences = share("level", level), _checked_differences(differences, [])
    turned = differences.rename(columns={"first": "second", "second": "first"})
    turned = turned.assign(difference=-differences.difference)
    both = pd.concat([differences, turned], ignore_index=True)
    return both.assign(difference=both.difference.where(both.q < level))


def _checked_differences(differences: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    keys = [*by, "first", "second"]
    numbers = dict.fromkeys(["difference", "q"], "number")
    return checked(differences, "differences", dict.fromkeys(keys, "label") | numbers, keys)
