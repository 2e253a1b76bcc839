"""Agreement of two criteria on the ranking of tokens, and groups of criteria that rank alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform

from analysis.criteria.scores import CRITERIA
from analysis.statistics.frames import checked, finite_numbers
from analysis.statistics.lists import among, different, names
from analysis.statistics.rankings import (
    RATIOS,
    checked_ratios,
    correlation,
    n_kept,
    overlap,
    rank_biased_overlap,
    rank_biased_weights,
)
from analysis.statistics.token_tables import score_matrices
from v2drop.arguments import number


def agreement(
    table: pd.DataFrame,
    criteria: Sequence[str] = CRITERIA,
    ratios: Sequence[float] | float = RATIOS,
    persistence: float = 0.95,
) -> pd.DataFrame:
    """The agreement of every two criteria on the tokens of every sample and layer.

    Args:
        table: The frame of `analysis.scored`, or any other with the columns sample, layer, token and the criteria.
        criteria: The columns that are compared, two or more; one that is NaN in a whole layer is left out there.
        ratios: Shares of tokens kept, in (0, 1].
        persistence: The parameter p of rank-biased overlap, in (0, 1).

    Returns:
        One row per (sample, layer, statistic, first, second): these (first and second are the two criteria), value, and
        chance, the average value for two unrelated rankings. Statistics: spearman, kendall (tau-b), overlap@r (the
        share of the kept tokens that two criteria have in common), rbo (rank-biased overlap). A correlation is 0 with
        a criterion that scores all tokens alike.

    Raises:
        ValueError: An argument is out of range, a column is missing or partly NaN, a token occurs twice, a sample has a
            single token, or no layer has scores of two criteria.
    """
    ratios = checked_ratios(ratios)
    if not 0 < number("persistence", persistence) < 1:
        raise ValueError(f"persistence must lie in (0, 1); got {persistence}.")
    frames = []
    for (sample, layer), there, scores in score_matrices(table, criteria, at_least=2):
        pairs = np.array(list(combinations(range(len(there)), 2)), dtype=int).reshape(-1, 2).T
        for statistic, values, chance in _pair_statistics(scores, ratios, persistence):
            first, second = ([there[i] for i in index] for index in pairs)
            columns = {"statistic": statistic, "first": first, "second": second, "value": values[tuple(pairs)]}
            frames.append(pd.DataFrame({"sample": sample, "layer": layer, **columns, "chance": chance}))
    compared = pd.concat(frames, ignore_index=True)
    if compared.empty:
        raise ValueError(
            f"two criteria or more must have scores at a layer; got {different(names('criteria', criteria))}."
        )
    return compared


def agreement_matrix(summary: pd.DataFrame, statistic: str, layer: int | str = "all") -> pd.DataFrame:
    """One statistic of all pairs as a matrix of criteria: 1 on the diagonal, NaN for criteria never compared.

    Args:
        summary: The frame of `analysis.summarise_layers` over `agreement`, keys statistic, first, second.
        statistic: The statistic shown.
        layer: A layer, or "all".

    Raises:
        ValueError: The summary is not that frame, or has no such statistic or layer.
    """
    keys = {"layer": "layer or all", **dict.fromkeys(["statistic", "first", "second"], "label")}
    summary = checked(summary, "summary", keys | {"mean": "number or NaN"}, list(keys))
    statistic = among("statistic", statistic, summary.statistic)
    layer = among("layer", layer, summary.layer)
    rows = summary[(summary.statistic == statistic) & (summary.layer == layer)]
    criteria = list(dict.fromkeys([*rows["first"], *rows.second]))
    frame = pd.DataFrame(np.where(np.eye(len(criteria)) > 0, 1.0, np.nan), index=criteria, columns=criteria)
    for first, second, value in zip(rows["first"], rows.second, rows["mean"], strict=True):
        frame.loc[first, second] = frame.loc[second, first] = value
    return frame


def criterion_groups(similarity: pd.DataFrame, least: float = 0.5) -> pd.Series:
    """Groups of criteria that rank alike: average linkage, cut where the mean similarity of two groups is too small.

    Args:
        similarity: The matrix of `agreement_matrix`.
        least: The smallest mean similarity within a group.

    Returns:
        The number of its group for every criterion; numbers rise from 1, similar criteria stand side by side.

    Raises:
        ValueError: A similarity is NaN, or the matrix is not square and symmetric with the same names on both sides.

    >>> names = ["a", "b", "c"]
    >>> alike = pd.DataFrame([[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]], names, names)
    >>> criterion_groups(alike).to_dict()
    {'b': 1, 'c': 2, 'a': 2}
    """
    least = number("least", least, -1, 1)
    similarity = _checked_matrix(similarity)
    if len(similarity) == 1:
        return pd.Series([1], index=similarity.index, name="group")
    distance = squareform(1 - similarity.to_numpy(), checks=False)
    tree = linkage(distance, method="average", optimal_ordering=True)
    order, groups = leaves_list(tree), fcluster(tree, 1 - least, criterion="distance")
    numbered = pd.factorize(groups[order])[0] + 1
    return pd.Series(numbered, index=similarity.index[order], name="group")


def _checked_matrix(similarity: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(similarity, pd.DataFrame) or similarity.empty or list(similarity.index) != list(similarity):
        raise ValueError("similarity must be a matrix with the same names on both sides, in one order; got another.")
    similarity = similarity.apply(lambda column: finite_numbers(column, f"similarities: {column.name}"))
    if (similarity.abs() > 1).any(axis=None):
        raise ValueError(f"similarities must lie in [-1, 1]; got {similarity.abs().max(axis=None):g}.")
    if not np.allclose(similarity, similarity.T):
        raise ValueError("similarity must be symmetric; got a matrix that is not.")
    return similarity


def _pair_statistics(
    scores: np.ndarray, ratios: Sequence[float], persistence: float
) -> list[tuple[str, np.ndarray, float]]:
    n = scores.shape[1]
    statistics = [(method, correlation(scores, method), 0.0) for method in ("spearman", "kendall")]
    for ratio in ratios:
        statistics.append((f"overlap@{ratio:.2f}", overlap(scores, n_kept(ratio, n)), n_kept(ratio, n) / n))
    depths = np.arange(1, n + 1) / n  # by chance: the overlap of the first d ranks of two unrelated rankings
    chance = float(rank_biased_weights(n, persistence) @ depths)
    return [*statistics, ("rbo", rank_biased_overlap(scores, persistence), chance)]
