"""The table of `variation_impact` as its statistics read it: criteria, targets, and the prediction of each target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics.frames import in_order
from analysis.statistics.token_tables import checked_table

PREDICTORS = (
    "variation_l2",
    "variation_l1",
    "variation_cosine",
    "operator_norm",
    "predicted_impact",
    "first_order_impact",
    "predicted_answer",
    "first_order_answer",
    "attention_last",
    "token_norm",
    "random",
)
UNSIGNED = " unsigned"  # the absolute value of a column with a sign
SIGNED = ("revert_answer", "drop_answer")
TARGETS = ("revert_impact", "drop_impact", "revert_kl", "drop_kl", *SIGNED, *(name + UNSIGNED for name in SIGNED))
ALIGNMENTS = ("gain_ratio", "top_cosine")
NULLS = ("random", "permuted", "same_label")
ALIGNMENT_COLUMNS = tuple(f"{name}{null}" for name in ALIGNMENTS for null in ("", *(f"_{each}" for each in NULLS)))

BETWEEN = "between labels"
NOT_LABELS = ("all", BETWEEN)

Columns = dict[str, np.ndarray]  # the columns of one sample and layer, by name


class Prediction(NamedTuple):
    """The columns of the theorem's right side for one kind of impact, none of them with a sign.

    The bound is the product of variation_l2 and norm, the first order that of the bound and alignment.
    """

    norm: str
    bound: str
    first_order: str
    alignment: str


Y = Prediction("operator_norm", "predicted_impact", "first_order_impact", "gain_ratio")
ANSWER = Prediction("answer_gradient", "predicted_answer", "first_order_answer" + UNSIGNED, "answer_cosine")
PREDICTED = {"revert_impact": Y, "drop_impact": Y} | {name + UNSIGNED: ANSWER for name in SIGNED}


def checked_impacts(table: pd.DataFrame) -> pd.DataFrame:
    """A plain copy of the table, tokens in order, with the unsigned columns and answer_cosine.

    answer_cosine is |cos| between the gradient of the answer's log probability and the update, which for a scalar
    output is both alignments at once.

    Args:
        table: The frame of `variation_impact`; a column label is kept.

    Raises:
        ValueError: A column is missing, a number is infinite, or NaN where it must not be; a token occurs twice; a
            label is called "all".
    """
    some = [*PREDICTORS, *ALIGNMENT_COLUMNS, "taylor_slope", "answer_gradient", "revert_kl", "drop_kl", *SIGNED]
    columns = dict.fromkeys(some, "number or NaN") | dict.fromkeys(("revert_impact", "drop_impact"), "number")
    if "label" in getattr(table, "columns", ()):
        columns["label"] = "label"
    table = in_order(checked_table(table, columns), ["token"])  # among equal scores the first token is kept
    taken = {*NOT_LABELS} & set(map(str, table.get("label", ())))
    if taken:
        raise ValueError(f"label of the table must not hold {', '.join(taken)}, which names a set of tokens here.")
    table = table.assign(**{name + UNSIGNED: table[name].abs() for name in (*SIGNED, "first_order_answer")})
    positive = table.predicted_answer.where(table.predicted_answer > 0)
    return table.assign(answer_cosine=table["first_order_answer" + UNSIGNED] / positive)


def samples_and_layers(table: pd.DataFrame) -> Iterator[tuple[tuple, Columns]]:
    """The columns of every sample and layer at which a token has a first-order impact, with their keys.

    Behind the last layer no token has any, whatever rounding leaves of the measured ones.

    Args:
        table: The frame of `checked_impacts`.

    Yields:
        Two values: (sample, layer), and the columns by name.

    Raises:
        ValueError: A criterion or target is NaN for some tokens of a layer but not for all. No token has an impact.
    """
    found = False
    for key, group in table.groupby(["sample", "layer"], sort=True):
        columns = {name: group[name].to_numpy() for name in group.columns}
        for name in (*PREDICTORS, *TARGETS):
            n_nan = int(np.isnan(columns[name]).sum())
            if 0 < n_nan < len(group):
                raise ValueError(f"{name} must be a number for every token or for none; got {n_nan} NaN.")
        if columns["first_order_impact"].any():
            found = True
            yield key, columns
    if not found:
        raise ValueError("the table must hold tokens with an impact; behind its layers no token has any.")


def with_values(columns: Columns, names: tuple[str, ...]) -> list[str]:
    """Those of some columns that hold numbers and not NaN."""
    return [name for name in names if not np.isnan(columns[name]).any()]


def groups_of_tokens(columns: Columns) -> Iterator[tuple[str, Columns]]:
    """All tokens as "all", then those of each label, if there are labels."""
    yield "all", columns
    if "label" in columns:
        for label in dict.fromkeys(columns["label"]):
            own = columns["label"] == label
            yield str(label), {name: column[own] for name, column in columns.items()}


def quantile(values: np.ndarray, percent: int = 50) -> float:
    """A percentile of the numbers that are not NaN; NaN without any."""
    values = values[~np.isnan(values)]
    return float(np.percentile(values, percent)) if len(values) else np.nan
