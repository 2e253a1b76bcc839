"""The cost of positional bias in accuracy: of a bias planted into a criterion, and of the bias that criteria have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, rankdata

from analysis.statistics.draws import pooled_draws
from analysis.statistics.frames import finite_numbers
from analysis.statistics.lists import name, numbers
from analysis.statistics.token_tables import checked_table, tokens_per_sample
from v2drop.arguments import seed_number, whole_number


def with_planted_bias(table: pd.DataFrame, criterion: str, strengths: Sequence[float] | float) -> pd.DataFrame:
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
        ValueError: A strength is out of range or has the name of another, a score is NaN or infinite, or a token is
            missing or twice.
    """
    strengths, criterion = numbers("strengths", strengths, 0, 1), name("criterion", criterion)
    columns = {f"{criterion}+{s:g}": s for s in strengths}
    if len(columns) < len(strengths):
        raise ValueError(f"strengths must differ in their first six digits; got {strengths}.")
    plain = checked_table(table, {"vision_index": "counted", criterion: "number"})
    tokens_per_sample(plain, ["sample", "layer"])
    groups = plain.groupby(["sample", "layer"])
    n = groups.vision_index.transform("size")
    ranked = groups[criterion].transform(lambda scores: rankdata(scores)) - 1
    last = (n - 1).clip(lower=1)
    new = {name: ((1 - s) * ranked + s * plain.vision_index) / last for name, s in columns.items()}
    return table.assign(**{name: values.to_numpy() for name, values in new.items()})


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
        spearman, low, high (95 % percentile interval; NaN for a single question), p (two-sided, from the permutations),
        criteria (their number). All but the last are NaN where all criteria have the same bias or the same accuracy.

    Raises:
        ValueError: There are fewer than three criteria, one has no answer to a question or two, a number is NaN or
            infinite, or an argument is out of range.
    """
    resamples, seed = whole_number("resamples", resamples, 1), seed_number(seed)
    bias = _checked_bias(bias)
    wide = pooled_draws(answers, ["method"], value).pivot(index="question", columns="method", values=value)
    missing = sorted(set(bias.index) - set(wide.columns))
    answered = wide.reindex(columns=bias.index)
    if len(bias) < 3 or missing:
        raise ValueError(
            f"bias must hold three criteria or more, all of them answered; got {len(bias)}, without {missing}."
        )
    if answered.isna().any(axis=None):
        short = answered.isna().sum()
        raise ValueError(
            f"every question must be answered under each criterion; got {short.max()} without {short.idxmax()!r}."
        )
    values, rng = answered.to_numpy(), np.random.default_rng(seed)
    drawn = values[rng.integers(len(values), size=(resamples, len(values)))].mean(1)
    ranks = rankdata(bias)
    observed = _spearman(ranks, values.mean(0))
    if np.ptp(ranks) == 0 or np.ptp(rankdata(values.mean(0))) == 0:
        return pd.Series(dict.fromkeys(["spearman", "low", "high", "p"], np.nan) | {"criteria": len(bias)})
    null = permutation_test(
        (values.mean(0),), lambda x: _spearman(ranks, x), permutation_type="pairings", n_resamples=resamples, rng=rng
    )
    low, high = np.quantile([_spearman(ranks, row) for row in drawn], [0.025, 0.975])
    low, high = (low, high) if len(values) > 1 else (np.nan, np.nan)
    return pd.Series({"spearman": observed, "low": low, "high": high, "p": null.pvalue, "criteria": len(bias)})


def _checked_bias(bias: pd.Series) -> pd.Series:
    if not isinstance(bias, pd.Series) or not bias.index.is_unique:
        raise ValueError(
            f"bias must be a Series of one number for each criterion, by its name; got {type(bias).__name__}."
        )
    return finite_numbers(bias, "bias")


def _spearman(ranks: np.ndarray, values: np.ndarray) -> float:
    """Spearman's correlation; 0 where a resample gives all criteria the same accuracy."""
    other = rankdata(values)
    return float(np.corrcoef(ranks, other)[0, 1]) if np.ptp(other) and np.ptp(ranks) else 0.0
