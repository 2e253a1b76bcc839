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
    bias: pd.Series,
    answers: pd.DataFrame,
    groups: pd.Series,
    value: str = "right",
    permutations: int = 9999,
    seed: int = 0,
) -> pd.Series:
    """The rank correlation, over groups of criteria, of a group's bias and the model's accuracy when dropping by it.

    Criteria that rank nearly alike keep nearly the same tokens and are no independent cases, so a group of them is one:
    its bias and its accuracy are the means over its criteria. p is that of a permutation test which exchanges groups
    (all orders where there are no more than `permutations`). Other questions would not make other criteria, so there is
    no interval. Call it without a criterion (`bias.drop("random")`) to see whether the result hangs on it.

    Args:
        bias: The bias of each criterion, indexed by its name, at least three; higher is more biased.
        answers: The frame of `analysis.accuracy`, with a method for each criterion, under its name.
        groups: The group of each criterion, indexed by its name, as `analysis.criterion_groups` gives them; others may
            be in it.
        value: The measure of accuracy, "right" or "log_probability".
        permutations: The largest number of permutations of the groups.
        seed: The seed of the permutations.

    Returns:
        spearman, p (two-sided; at least 1/3 for three groups, 1/12 for four, 1/60 for five), groups (their number),
        criteria (their number). The first two are NaN where there are fewer than three groups, or all have the same
        bias or the same accuracy.

    Raises:
        ValueError: There are fewer than three criteria, one has no answer to a question or two or is in no group, a
            number is NaN or infinite, or an argument is out of range.
    """
    permutations, seed = whole_number("permutations", permutations, 1), seed_number(seed)
    bias = _checked_bias(bias)
    groups = _checked_groups(groups, bias)
    answered = _answered(answers, bias, value)
    cases = pd.DataFrame({"bias": bias, "accuracy": answered.mean()}).groupby(groups).mean().apply(rankdata)
    spearman, p = np.nan, np.nan
    if len(cases) >= 3 and np.ptp(cases.bias) > 0 and np.ptp(cases.accuracy) > 0:
        centred = cases - cases.mean()
        scale = np.sqrt(np.square(centred).sum().prod())
        null = permutation_test(
            (centred.accuracy.to_numpy(),),
            lambda x, axis: (x * centred.bias.to_numpy()).sum(axis) / scale,
            vectorized=True,
            permutation_type="pairings",
            n_resamples=permutations,
            rng=seed,
        )
        spearman, p = null.statistic, null.pvalue
    return pd.Series({"spearman": spearman, "p": p, "groups": len(cases), "criteria": len(bias)})


def _checked_bias(bias: pd.Series) -> pd.Series:
    if not isinstance(bias, pd.Series) or not bias.index.is_unique:
        raise ValueError(
            f"bias must be a Series of one number for each criterion, by its name; got {type(bias).__name__}."
        )
    return finite_numbers(bias, "bias")


def _checked_groups(groups: pd.Series, bias: pd.Series) -> pd.Series:
    if not isinstance(groups, pd.Series) or not groups.index.is_unique:
        raise ValueError(
            "groups must be a Series of one group for each criterion, by its name, as criterion_groups gives it; got "
            f"{type(groups).__name__}."
        )
    of_each = groups.reindex(bias.index)
    if of_each.isna().any():
        raise ValueError(f"every criterion must be in a group; got {list(of_each.index[of_each.isna()])} in none.")
    return of_each


def _answered(answers: pd.DataFrame, bias: pd.Series, value: str) -> pd.DataFrame:
    """The value of every question (a row) under every criterion (a column)."""
    wide = pooled_draws(answers, ["method"], value).pivot(index="question", columns="method", values=value)
    missing = sorted(set(bias.index) - set(wide.columns))
    if len(bias) < 3 or missing:
        raise ValueError(
            f"bias must hold three criteria or more, all of them answered; got {len(bias)}, without {missing}."
        )
    answered = wide.reindex(columns=bias.index)
    if answered.isna().any(axis=None):
        short = answered.isna().sum()
        raise ValueError(
            f"every question must be answered under each criterion; got {short.max()} without {short.idxmax()!r}."
        )
    return answered
