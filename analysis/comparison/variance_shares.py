"""What the differences between many runs are due to: the method, the layers, or the questions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.statistics.draws import checked_answers
from analysis.statistics.lists import names
from v2drop.arguments import seed_number, whole_number

BLOCK = "question set"
REST = "the rest"


def accuracy_variance(
    answers: pd.DataFrame, factors: Sequence[str], n_sets: int = 4, resamples: int = 500, seed: int = 0
) -> pd.DataFrame:
    """The variance of accuracies, split into what tells runs apart, the set of questions they were asked, and the rest.

    The questions are cut into sets, as if several groups had each asked their own. An accuracy of every combination of
    the factors on every set makes a balanced table, whose sum of squares is split by the analysis of variance: main
    effects, interactions of two, and the rest. A factor that moves accuracy little has a small share; where that of the
    method with the question set is small, another set would have shown the same differences between methods.

    Args:
        answers: Rows with the factors, question, right, and draw where there are several. Every combination of the
            factors has the same questions.
        factors: The columns that tell runs apart, two or more; draw may be one, of methods that draw alike often.
            Otherwise the draws of a question are averaged.
        n_sets: The number of question sets.
        resamples: The number of resamples of the questions, within their sets, behind the intervals.
        seed: The seed of the resamples.

    Returns:
        One row per source (a factor, "question set", two of them as "method x layers", "the rest"): source, share (of
        the sum of squares), low, high (95 %: percentiles over resamples, less the bias that resampling shows, since
        resampled questions vary more than questions do; the cut into sets stays), df (degrees of freedom).

    Raises:
        ValueError: A combination lacks questions that others have, there is but one value of a factor, or a number is
            out of range.
    """
    factors = list(names("factors", factors, least=2, besides=[BLOCK, "question", "right"]))
    n_sets, resamples = whole_number("n_sets", n_sets, 2), whole_number("resamples", resamples, 1)
    rng = np.random.default_rng(seed_number(seed))
    values = _table(_checked(answers, factors), factors)
    sets = np.array_split(rng.permutation(values.shape[-1]), n_sets)
    if min(map(len, sets)) < 2:
        raise ValueError(
            f"n_sets must leave two questions or more in each set, {values.shape[-1]} in all; got {n_sets}."
        )
    found = _shares(values, sets, [*factors, BLOCK])
    drawn = [
        _shares(values, [rng.choice(each, len(each)) for each in sets], [*factors, BLOCK]) for _ in range(resamples)
    ]
    share = np.array([share for share, _ in found.values()])
    resampled_shares = np.array([[share for share, _ in each.values()] for each in drawn])
    low, high = np.quantile(resampled_shares, [0.025, 0.975], axis=0) - (resampled_shares.mean(0) - share)
    columns = {"share": share, "low": low.clip(0, 1), "high": high.clip(0, 1), "df": [df for _, df in found.values()]}
    return pd.DataFrame({"source": list(found), **columns})


def _checked(answers: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """The checked answers; as a factor, a draw tells runs apart and not the answers of one."""
    return checked_answers(answers, [each for each in factors if each != "draw"], {"right": "truth or number"})


def _table(answers: pd.DataFrame, factors: list[str]) -> np.ndarray:
    """The right answers, draws averaged: an axis for each factor, questions last."""
    wide = answers.astype({"right": float}).pivot_table("right", factors, "question", "mean")
    sizes = [answers[factor].nunique() for factor in factors]
    full = pd.MultiIndex.from_product([answers[factor].unique() for factor in factors], names=factors)
    wide = wide.reindex(full)
    if wide.isna().any(axis=None) or min(sizes) < 2:
        raise ValueError(
            f"every combination of {', '.join(factors)} must have the same questions, and each of them two values or "
            f"more; got {dict(zip(factors, sizes, strict=True))} values and {int(wide.isna().sum().sum())} gaps."
        )
    return wide.to_numpy().reshape(*sizes, -1)


def _shares(values: np.ndarray, sets: list[np.ndarray], sources: list[str]) -> dict[str, tuple[float, int]]:
    """The share of the sum of squares, and the degrees of freedom, of each source."""
    cells = np.stack([values[..., each].mean(-1) for each in sets], -1)
    cells = cells - cells.mean()
    axes, total, found = range(cells.ndim), float((cells**2).sum()), {}
    effects = {axis: _mean_over(cells, {axis}) for axis in axes}
    for axis in axes:
        found[sources[axis]] = _size(effects[axis], cells), cells.shape[axis] - 1
    for a, b in combinations(axes, 2):
        effect = _mean_over(cells, {a, b}) - effects[a] - effects[b]
        df = (cells.shape[a] - 1) * (cells.shape[b] - 1)
        found[f"{sources[a]} x {sources[b]}"] = _size(effect, cells), df
    known, used = sum(size for size, _ in found.values()), sum(df for _, df in found.values())
    found[REST] = total - known, cells.size - 1 - used
    return {source: (max(0.0, size) / total if total else 0.0, df) for source, (size, df) in found.items()}


def _mean_over(cells: np.ndarray, kept: set[int]) -> np.ndarray:
    return cells.mean(tuple(axis for axis in range(cells.ndim) if axis not in kept), keepdims=True)


def _size(effect: np.ndarray, cells: np.ndarray) -> float:
    return float((np.broadcast_to(effect, cells.shape) ** 2).sum())
