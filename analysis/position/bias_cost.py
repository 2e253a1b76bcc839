"""The cost of positional bias in accuracy: of a bias planted into a criterion, and of the bias that criteria have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, rankdata

from analysis.statistics.draws import pooled_draws


def with_planted_bias(table: pd.DataFrame, criterion: str, strengths: Sequence[float]) -> pd.DataFrame:
    """Scores with a planted preference for the end of the sequence, everything else being equal.

    The new score is (1 - s) x the token's scaled rank (0 lowest score to 1) + s x its position (0 first to 1 last). At
    s = 0 the ranking is the criterion's; at s = 1 the last tokens are kept.

    Args:
        table: The frame of `analysis.scored`.
        criterion: The column that holds the scores.
        strengths: Strengths s of the preference, in [0, 1].

    Returns:
        The table, with a column "<criterion>+<s>" for every strength.

    Raises:
        ValueError: A strength is out of range, or a score is NaN.
    """
    if not all(0 <= s <= 1 for s in strengths):
        raise ValueError(f"strengths must lie in [0, 1]; got {list(strengths)}.")
    if table[criterion].isna().any():
        raise ValueError(f"{criterion} must be a number for every token; got {table[criterion].isna().sum()} NaN.")
    groups = table.groupby(["sample", "layer"])
    n = groups.vision_index.transform("size")
    ranked = groups[criterion].transform(lambda scores: rankdata(scores)) - 1
    last = (n - 1).clip(lower=1)
    new = {f"{criterion}+{s:g}": ((1 - s) * ranked + s * table.vision_index) / last for s in strengths}
    return table.assign(**new)


def bias_accuracy_correlation(
    bias: pd.Series, answers: pd.DataFrame, value: str = "right", resamples: int = 2000, seed: int = 0
) -> pd.Series:
    """The rank correlation, over criteria, of a criterion's bias and the model's accuracy when dropping by it.

    Args:
        bias: The bias of each criterion, indexed by its name, at least three; higher is more biased.
        answers: The frame of `analysis.accuracy`, with a method for each criterion, under its name.
        value: The measure of accuracy, "right" or "log_probability".
        resamples: The number of bootstrap resamples of the questions, and of permutations of the criteria. The bias is
            not resampled.
        seed: The seed of both.

    Returns:
        spearman, low, high (95 % percentile interval), p (two-sided, from the permutations), criteria (their number).

    Raises:
        ValueError: There are fewer than three criteria, one has no answers, or a number is NaN or missing.
    """
    wide = pooled_draws(answers, ["method"], value).pivot(index="question", columns="method", values=value)
    missing = sorted(set(bias.index) - set(wide.columns))
    if len(bias) < 3 or missing:
        raise ValueError(
            f"bias must hold three criteria or more, all of them answered; got {len(bias)}, without {missing}."
        )
    if bias.isna().any() or wide[bias.index].isna().any(axis=None):
        raise ValueError("bias must be a number for every criterion, and every question answered under each; got NaN.")
    values, rng = wide[bias.index].to_numpy(), np.random.default_rng(seed)
    drawn = values[rng.integers(len(values), size=(resamples, len(values)))].mean(1)
    ranks = rankdata(bias)
    observed = _spearman(ranks, values.mean(0))
    null = permutation_test(
        (values.mean(0),), lambda x: _spearman(ranks, x), permutation_type="pairings", n_resamples=resamples, rng=rng
    )
    low, high = np.quantile([_spearman(ranks, row) for row in drawn], [0.025, 0.975])
    return pd.Series({"spearman": observed, "low": low, "high": high, "p": null.pvalue, "criteria": len(bias)})


def _spearman(ranks: np.ndarray, values: np.ndarray) -> float:
    other = rankdata(values)
    return float(np.corrcoef(ranks, other)[0, 1]) if np.ptp(other) and np.ptp(ranks) else 0.0
