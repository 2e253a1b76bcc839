"""Which criterion ranks tokens as their impacts do: over all tokens, within each label and between labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.theorem.statistics.agreement import Pairs, kendall, overlaps, spearman, spearman_between
from analysis.theorem.statistics.bound import Row
from analysis.theorem.statistics.impact_table import BETWEEN, PREDICTORS, TARGETS, Columns, with_values


def ranking_rows(
    columns: Columns, ratios: Sequence[float], permutations: int, rng: np.random.Generator
) -> Iterator[Row]:
    """The statistics of `per_sample` about rankings.

    Args:
        columns: The columns of one sample and layer.
        ratios: Shares of tokens kept.
        permutations: The number of permutations of the null.
        rng: The source of the permutations.

    Yields:
        Statistic, criterion, target, tokens and value.
    """
    targets = with_values(columns, TARGETS)
    names, scores = _criteria(columns, permutations, rng)
    goals = np.array([columns[name] for name in targets])
    for tokens, statistic, pairs in _pairs(scores, goals, columns.get("label"), ratios):
        for name in dict.fromkeys(names):
            values = pairs[[each == name for each in names]].mean(0)
            yield from (
                (statistic, name, target, tokens, float(value)) for target, value in zip(targets, values, strict=True)
            )


def _criteria(columns: Columns, permutations: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Names and scores of the criteria; those of the null stand there once for each permutation of the updates."""
    norm, variation = columns["operator_norm"], columns["variation_l2"]
    shuffled = [rng.permutation(variation) for _ in range(permutations)]
    names = with_values(columns, PREDICTORS)
    scores = [columns[name] for name in names] + shuffled + [norm * change for change in shuffled]
    nulls = ["variation_l2 permuted"] * permutations + ["predicted_impact permuted"] * permutations
    return names + nulls, np.array(scores)


def _pairs(
    scores: np.ndarray, goals: np.ndarray, labels: np.ndarray | None, ratios: Sequence[float]
) -> Iterator[tuple[str, str, Pairs]]:
    yield "all", "spearman", spearman(scores, goals)
    yield "all", "kendall", kendall(scores, goals)
    for ratio in ratios:
        yield "all", f"overlap@{ratio:.2f}", overlaps(scores, goals, ratio)
    for label in () if labels is None else dict.fromkeys(labels):
        own = labels == label
        yield str(label), "spearman", spearman(scores[:, own], goals[:, own])
        yield str(label), "kendall", kendall(scores[:, own], goals[:, own])
    if labels is not None:
        yield BETWEEN, "spearman", spearman_between(scores, goals, labels.tolist())
