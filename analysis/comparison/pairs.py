"""Paired differences of methods on the same questions: of every two, or of all from one baseline."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from analysis.statistics.draws import checked_answers, pooled_draws
from analysis.statistics.frames import checked
from analysis.statistics.intervals import MEANS, mean_by_group
from analysis.statistics.lists import among, different, name, names
from v2drop.arguments import seed_number, share

RESAMPLES = 4000


def pairwise_differences(frame: pd.DataFrame, value: str = "right", seed: int = 0) -> pd.DataFrame:
    """Differences of every two methods at every budget, by a paired bootstrap over questions.

    All pairs of a budget share their resamples. p is twice the smaller of two shares of resampled differences: those
    <= 0, and those >= 0 (one more is counted in each, so p is never 0). q is p corrected for all rows by Benjamini and
    Hochberg.

    Args:
        frame: The frame of `analysis.accuracy_at_averages`: method, budget, question, draw and the value; a question's
            draws are averaged before anything is compared.
        value: The column that is compared, "right" or "log_probability".
        seed: The seed of the resamples.

    Returns:
        One row per budget and pair, methods in the order in which the frame has them: budget, first, second, difference
        (first minus second), low, high (95 %), p, q, draws (behind each of a question's answers, of the method that has
        more).

    Raises:
        ValueError: There are fewer than two methods or questions, the methods of a budget have different questions, a
            method has a question twice, a column is missing or holds something else, or `seed` is none.
    """
    seed, frame = seed_number(seed), checked_answers(frame, ["budget", "method"], {name("value", value): "number"})
    rows = []
    for budget, group in frame.groupby("budget", sort=False):
        pooled = pooled_draws(group, ["method"], value)
        wide, n_draws = (pooled.pivot(index="question", columns="method", values=name) for name in (value, "draws"))
        wide = wide.reindex(columns=group.method.unique())  # [...] would take names that are bools for a mask
        if len(wide) < 2 or wide.isna().any(axis=None):
            raise ValueError(f"all methods must answer the same questions, two at least; not so at budget {budget}.")
        rows += [(budget, *row, n_draws.reindex(columns=row[:2]).max(axis=None)) for row in _compare(wide, seed)]
    if not rows:
        raise ValueError(f"there must be two methods at a budget; got {different(frame.method)}.")
    differences = pd.DataFrame(rows, columns=[*"budget first second difference low high p draws".split()])
    differences.insert(7, "q", false_discovery_control(differences.p))
    return differences


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


def _compare(wide: pd.DataFrame, seed: int) -> list[tuple]:
    values, n = wide.to_numpy(), len(wide)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means, observed = counts @ values / n, values.mean(0)
    rows = []
    for a, b in combinations(range(values.shape[1]), 2):
        drawn = means[:, a] - means[:, b]
        low, high = np.percentile(drawn, [2.5, 97.5])
        tails = [(np.count_nonzero(side) + 1) / (RESAMPLES + 1) for side in (drawn <= 0, drawn >= 0)]
        rows.append((wide.columns[a], wide.columns[b], observed[a] - observed[b], low, high, min(1.0, 2 * min(tails))))
    return rows


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


def paired_difference(frame: pd.DataFrame, baseline: Hashable, by: Sequence[str], value: str = "right") -> pd.DataFrame:
    """Every method's value minus that of a baseline on the same questions, with paired bootstrap intervals.

    Args:
        frame: The frame of `analysis.accuracy`, with any further columns named in `by`.
        baseline: The method that is subtracted.
        by: The columns that tell comparisons apart beside the method, as ["budget"].
        value: The column that is compared, "right" or "log_probability".

    Returns:
        One row per method and comparison: method, `by`, mean (of the differences), low, high (95 %; NaN for a single
        question), n (questions; those that only one of the two answered are left out), draws (behind each of a
        question's answers, of the method or the baseline, whichever has more).

    Raises:
        ValueError: `baseline` is not a method of the frame, or the only one on any question of a comparison; a question
            is there twice for a method and comparison; a column is missing or holds something else.
    """
    by = names("by", by, least=0, besides=["method", "question", "difference", "draws", value, *MEANS])
    frame = checked_answers(frame, ["method", *by], {name("value", value): "number"})
    baseline = among("baseline", baseline, frame.method)
    keys, pooled = [*by, "question"], pooled_draws(frame, ["method", *by], value)
    wide, n_draws = (pooled.pivot(index=keys, columns="method", values=name) for name in (value, "draws"))
    gain = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    long = gain.reset_index().melt(id_vars=keys, var_name="method", value_name="difference").dropna()
    if long.empty:
        raise ValueError(f"another method must answer the same questions as {baseline!r}; got none.")
    found = mean_by_group(long, ["method", *by], "difference")
    return found.assign(draws=[int(n_draws.reindex(columns=[each, baseline]).max(axis=None)) for each in found.method])


def _checked_differences(differences: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    keys = [*by, "first", "second"]
    numbers = dict.fromkeys(["difference", "q"], "number")
    return checked(differences, "differences", dict.fromkeys(keys, "label") | numbers, keys)
