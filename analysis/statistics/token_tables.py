"""Tables with one row per (sample, layer, token): checks, and scores as matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from analysis.statistics.frames import checked
from analysis.statistics.lists import different, names

KEYS = {"sample": "label", "layer": "counted", "token": "counted"}


def checked_table(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """A table's copy with plain columns (`checked`): the keys and some more, every token of a sample and layer once.

    Args:
        table: A table with one row per (sample, layer, token).
        columns: The columns it must have beside these keys, with their kinds.

    Raises:
        ValueError: The table is empty, a column is missing or holds something else, or a token of a sample and layer
            occurs twice.
    """
    return checked(table, "table", KEYS | dict(columns), list(KEYS))


def tokens_per_sample(frame: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """The number of tokens in every group, after a check that it holds all of a sample's vision tokens once.

    Args:
        frame: A frame with the column vision_index, ints from 0 on.
        by: The columns that tell groups apart.

    Raises:
        ValueError: The values of vision_index in a group are not 0 to n - 1.
    """
    counts = frame.groupby(list(by), sort=False).vision_index.agg(["size", "nunique", "max"])
    bad = counts[(counts["size"] != counts["nunique"]) | (counts["size"] != counts["max"] + 1)]
    if len(bad):
        size, different, last = bad.iloc[0]
        raise ValueError(
            f"all tokens of a sample must be there, once each, vision_index 0 to n - 1; got {size} of them, "
            f"{different} different, up to {last}, at {list(by)} = {bad.index[0]}. Are layers mixed, or dropped tokens "
            "left out?"
        )
    return counts["size"]


def score_matrices(
    table: pd.DataFrame, criteria: Sequence[str], at_least: int = 1
) -> Iterator[tuple[tuple[int, int], list[str], Float[np.ndarray, "criteria tokens"]]]:
    """The scores of every sample and layer, tokens in prompt order.

    Args:
        table: A table with one row per (sample, layer, token).
        criteria: The columns that hold scores.
        at_least: The smallest number of tokens that a sample may have.

    Yields:
        Three values: (sample, layer), the names of the criteria that have scores there, and their scores.

    Raises:
        ValueError: As for `checked_table`. A criterion is infinite, or NaN for some tokens of a layer but not for all.
            No criterion has scores anywhere. A sample has fewer than `at_least` tokens.
    """
    criteria = names("criteria", criteria, besides=KEYS)
    table = checked_table(table, dict.fromkeys(criteria, "number or NaN"))
    if table[list(criteria)].isna().all(axis=None):
        raise ValueError(f"at least one criterion must have scores; got none for {different(criteria)}.")
    _all_or_none(table, criteria)
    ordered = table.sort_values("token", kind="stable")
    values = ordered[list(criteria)].to_numpy(dtype=float)
    for key, rows in sorted(ordered.groupby(["sample", "layer"]).indices.items()):
        scores = values[rows].T
        if scores.shape[1] < at_least:
            raise ValueError(f"a ranking takes {at_least} tokens or more; got {scores.shape[1]} at {key}.")
        has_scores = ~np.isnan(scores[:, 0])
        yield key, [name for name, has in zip(criteria, has_scores, strict=True) if has], scores[has_scores]


def _all_or_none(table: pd.DataFrame, criteria: Sequence[str]) -> None:
    missing = table[list(criteria)].isna().groupby(table.layer).agg(["sum", "size"])
    for name in criteria:
        some = missing[name][(missing[name]["sum"] > 0) & (missing[name]["sum"] < missing[name]["size"])]
        if len(some):
            n, of = some.iloc[0]
            raise ValueError(
                f"{name} must be a number for every token of a layer or for none; got {n} NaN of {of} at layer "
                f"{some.index[0]}."
            )
