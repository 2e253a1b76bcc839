"""Does the bound hold, how loose is it, how good is the linear model: one value per sample and layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.theorem.statistics.impact_table import (
    PREDICTED,
    SIGNED,
    TARGETS,
    UNSIGNED,
    Columns,
    groups_of_tokens,
    quantile,
    with_values,
)

Row = tuple[str, str, str, str, float]  # statistic, criterion, target, tokens, value
SMOOTH = 0.2  # a slope this near to 2 counts as that of a quadratic remainder
SHOWN = (50, 90, 99)  # percentiles of the impacts


def bound_rows(columns: Columns) -> Iterator[Row]:
    """The statistics of `per_sample` about the bound and the linear model, over all tokens and those of each label."""
    for tokens, own in groups_of_tokens(columns):
        for target in with_values(own, ("revert_impact", "revert_answer" + UNSIGNED)):
            yield from ((name, "", target, tokens, value) for name, value in _bound(own, target))
    for target in with_values(columns, TARGETS):
        for percent in SHOWN:
            yield f"quantile_{percent}", "", target, "all", quantile(columns[target], percent)
    for target in with_values(columns, SIGNED):
        yield "helpful", "", target, "all", float(np.mean(columns[target] > 0))
    if with_values(columns, ("revert_answer", "first_order_answer")):
        same = np.sign(columns["revert_answer"]) == np.sign(columns["first_order_answer"])
        yield "same_sign", "first_order_answer", "revert_answer", "all", float(np.mean(same))
    slopes = columns["taylor_slope"][~np.isnan(columns["taylor_slope"])]
    if len(slopes):
        yield "taylor_slope", "", "", "all", float(np.median(slopes))
        yield "smooth", "", "", "all", float(np.mean(np.abs(slopes - 2) <= SMOOTH))


def _bound(columns: Columns, target: str) -> Iterator[tuple[str, float]]:
    prediction, impact = PREDICTED[target], columns[target]
    predicted, linear = columns[prediction.bound], columns[prediction.first_order]
    yield "bound_holds", float(np.mean(impact <= predicted))
    yield "looseness", quantile(predicted[impact > 0] / impact[impact > 0])
    yield "linear_error", quantile(np.abs(impact[linear > 0] / linear[linear > 0] - 1))
