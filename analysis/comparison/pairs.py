"""Every method against every other on the same questions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from analysis.statistics.intervals import mean_by_group

RESAMPLES = 4000


def pairwise_differences(frame: pd.DataFrame, value: str = "right", seed: int = 0) -> pd.DataFrame:
    """Differences of all pairs of methods at every budget, by a paired bootstrap over questions.

    All pairs of a budget share their resamples. p is twice the smaller share of resampled differences that are not
    above, or not below, zero (one more counted in each, so never 0); q is p after Benjamini and Hochberg over all rows.

    Args:
        frame: of `analysis.accuracy_at_averages`: method, budget, question and the value, each question once.
        value: column, "right" or "log_probability".
        seed: of the resamples.

    Returns:
        budget, first, second, difference (first minus second), low, high (95 %), p, q.

    Raises:
        ValueError: fewer than two methods or questions, or a question that not all methods of a budget were asked.
    """
    rows = []
    for budget, group in frame.groupby("budget", sort=False):
        wide = group.pivot(index="question", columns="method", values=value).astype(float)
        wide = wide[group.method.unique()]
        if len(wide) < 2 or wide.isna().any(axis=None):
            raise ValueError(f"all methods must answer the same questions, two at least; not so at budget {budget}.")
        rows += [(budget, *row) for row in _compare(wide, seed)]
    if not rows:
        raise ValueError(f"there must be two methods at a budget; got {', '.join(frame.method.unique())}.")
    found = pd.DataFrame(rows, columns=["budget", "first", "second", "difference", "low", "high", "p"])
    return found.assign(q=false_discovery_control(found.p))


def win_counts(found: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """How many others each method beats and is beaten by, per budget.

    Args:
        found: of `pairwise_differences`.
        level: of q.

    Returns:
        budget, method, beats, beaten, net (beats - beaten), the largest budget and net first.
    """
    both = pd.concat(
        [
            found.rename(columns={"first": "method"}),
            found.assign(difference=-found.difference).rename(columns={"second": "method"}),
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
    means, whole = counts @ values / n, values.mean(0)
    rows = []
    for a, b in combinations(range(values.shape[1]), 2):
        drawn = means[:, a] - means[:, b]
        low, high = np.percentile(drawn, [2.5, 97.5])
        tails = [(np.count_nonzero(side) + 1) / (RESAMPLES + 1) for side in (drawn <= 0, drawn >= 0)]
        rows.append((wide.columns[a], wide.columns[b], whole[a] - whole[b], low, high, min(1.0, 2 * min(tails))))
    return rows


def significant_pairs(found: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Pairs as a matrix needs them: also second against first, and only differences with q below a level.

    Args:
        found: of `analysis.pairwise_differences`, one budget.
        level: of q; the other differences are NaN, which stays white.
    """
    turned = found.rename(columns={"first": "second", "second": "first"}).assign(difference=-found.difference)
    both = pd.concat([found, turned], ignore_index=True)
    return both.assign(difference=both.difference.where(both.q < level))


def paired_difference(frame: pd.DataFrame, baseline: str, by: list[str], value: str = "right") -> pd.DataFrame:
    """A value minus the baseline method's on the same questions, with paired bootstrap intervals.

    Args:
        frame: of `accuracy`, possibly of several budgets.
        baseline: a method in it.
        by: what identifies a comparison beside the method: ["budget"], say.
        value: column, "right" or "log_probability".

    Raises:
        ValueError: `baseline` is not in the frame.
    """
    if baseline not in set(frame.method):
        raise ValueError(f"baseline must be one of {', '.join(frame.method.unique())}; got {baseline!r}.")
    keys = [*by, "question"]
    wide = frame.pivot(index=keys, columns="method", values=value).astype(float)
    gain = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    long = gain.reset_index().melt(id_vars=keys, var_name="method", value_name="difference").dropna()
    return mean_by_group(long, ["method", *by], "difference")
