"""Paired differences of methods on the same questions: of every two, or of all from one baseline."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations

import pandas as pd
from scipy.stats import false_discovery_control

from analysis.statistics.draws import OF_DRAWS, checked_answers, pooled_draws
from analysis.statistics.intervals import MEANS
from analysis.statistics.lists import among, different, name, names
from analysis.statistics.paired import Kind, PairedComparison, compare_paired
from v2drop.arguments import seed_number

DISCORDANT = ["better", "worse"]  # columns: on how many questions only the one, only the other has more
TESTED = [*DISCORDANT, "p", "q"]
PAIRED = ["first", "second", "difference", "low", "high"]


def pairwise_differences(
    frame: pd.DataFrame, value: str = "right", seed: int = 0, by: Sequence[str] = ("budget",), of: str = "method"
) -> pd.DataFrame:
    """Differences of every two methods at every budget, with intervals and tests for their kind (`paired_difference`).

    Args:
        frame: The frame of `analysis.accuracy_at_averages`: `by`, `of`, question, draw and the value; a question's
            draws are averaged before anything is compared.
        value: The column that is compared, "right" or "log_probability".
        seed: The seed of the resamples, for numbers.
        by: The columns that tell comparisons apart.
        of: The column whose values are compared: "method", or "layers" for the choices of layers of one method.

    Returns:
        One row per comparison and pair, in the order in which the frame has them: `by`, first, second, difference
        (first minus second), low, high (95 %; NaN for numbers that all differ by the same), p, q (p corrected for all
        rows, Benjamini and Hochberg), better, worse (questions on which the first, the second has more), draws (behind
        each of a question's answers, of the method that has more).

    Raises:
        ValueError: There are fewer than two methods or questions, the methods of a budget have different questions, a
            method has a question twice, a column is missing or holds something else, or `seed` is none.
    """
    seed, kinds = seed_number(seed), {name("value", value): "truth or number"}
    by = names("by", by, besides=[of, "question", value, *OF_DRAWS, *PAIRED, *TESTED])
    frame = checked_answers(frame, [*by, of], kinds)
    rows = []
    for key, group in frame.groupby(list(by), sort=False):
        wide, n_draws = _by_method(group, value, [], of)
        wide = wide.reindex(columns=group[of].unique())  # [...] would take names that are bools for a mask
        if len(wide) < 2 or wide.isna().any(axis=None):
            where = ", ".join(f"{name} {value}" for name, value in zip(by, key, strict=True))
            raise ValueError(f"all methods must answer the same questions, two at least; not so at {where}.")
        values = wide.to_numpy()
        for a, b in combinations(range(values.shape[1]), 2):
            pair = wide.columns[[a, b]]
            draws = int(n_draws.reindex(columns=pair).max(axis=None))
            found = compare_paired(values[:, a] - values[:, b], _kind(frame, value, draws), seed=seed)
            rows.append((*key, *pair, *found[:3], found.p, found.better, found.worse, draws))
    if not rows:
        raise ValueError(f"there must be two values of {of!r} at a {by[0]}; got {different(frame[of])}.")
    differences = pd.DataFrame(rows, columns=[*by, *PAIRED, "p", *DISCORDANT, "draws"])
    differences.insert(differences.columns.get_loc("p") + 1, "q", false_discovery_control(differences.p))
    return differences


def paired_difference(
    frame: pd.DataFrame, baseline: Hashable, by: Sequence[str], value: str = "right", of: str = "method"
) -> pd.DataFrame:
    """Every method's value minus that of a baseline on the same questions, with paired intervals and tests.

    Right answers of a single draw have McNemar's exact test and the interval of Bonett and Price; shares of right draws
    the same interval and its test; numbers a studentised bootstrap and its test (`compare_paired` in
    `analysis.statistics.paired`).

    Args:
        frame: The frame of `analysis.accuracy`, with any further columns named in `by`.
        baseline: The method that is subtracted.
        by: The columns that tell comparisons apart beside the method, as ["budget"].
        value: The column that is compared, "right" or "log_probability".
        of: The column whose values are compared and of which `baseline` is one: "method", or "layers" for the choices
            of layers of one method.

    Returns:
        One row per method and comparison: `of`, `by`, mean (of the differences), low, high (95 %; NaN for a single
        question, and for numbers that all differ by the same), n (questions; those that only one of the two answered
        are left out), better, worse (questions on which the method, the baseline has more), p, q (p corrected for all
        rows, Benjamini and Hochberg), draws (behind each of a question's answers, of the method or the baseline,
        whichever has more).

    Raises:
        ValueError: `baseline` is not a method of the frame, or the only one on any question of a comparison; a question
            is there twice for a method and comparison; a column is missing or holds something else.
    """
    by = names("by", by, least=0, besides=[name("of", of), "question", value, *OF_DRAWS, *MEANS, *TESTED])
    rows = [
        (*key, *found[:3], found.n, found.better, found.worse, found.p, draws)
        for key, found, draws in comparisons_with(frame, baseline, by, value, of=of)
    ]
    found = pd.DataFrame(rows, columns=[of, *by, *MEANS, *DISCORDANT, "p", "draws"])
    found.insert(len(found.columns) - 1, "q", false_discovery_control(found.p))
    return found


def comparisons_with(
    frame: pd.DataFrame, baseline: Hashable, by: Sequence[str], value: str, level: float = 0.95, of: str = "method"
) -> Iterator[tuple[tuple, PairedComparison, int]]:
    """Every method compared with a baseline on the questions that both answered.

    Args:
        frame: The frame as for `paired_difference`.
        baseline: The method that is subtracted.
        by: The columns that tell comparisons apart.
        value: The column that is compared.
        level: The confidence level of the intervals.
        of: The column whose values are compared.

    Yields:
        Three values: the method with the values of `by`, the comparison, and the larger number of draws.

    Raises:
        ValueError: As for `paired_difference`.
    """
    frame = checked_answers(frame, [of, *by], {name("value", value): "truth or number"})
    baseline = among("baseline", baseline, frame[of])
    wide, n_draws = _by_method(frame, value, by, of)
    gain = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    long = gain.reset_index().melt(id_vars=[*by, "question"], var_name=of, value_name="difference").dropna()
    if long.empty:
        raise ValueError(f"another method must answer the same questions as {baseline!r}; got none.")
    for key, group in long.groupby([of, *by], sort=False):
        draws = int(n_draws.reindex(columns=[key[0], baseline]).max(axis=None))
        yield key, compare_paired(group.difference, _kind(frame, value, draws), level), draws


def _by_method(frame: pd.DataFrame, value: str, by: Sequence[str], of: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values and numbers of draws, a row a question and a column a method."""
    pooled = pooled_draws(frame, [of, *by], value)
    return tuple(pooled.pivot(index=[*by, "question"], columns=of, values=each) for each in (value, "draws"))


def _kind(frame: pd.DataFrame, value: str, draws: int) -> Kind:
    """What a checked frame's values are: the column's type decides, and whether they were averaged over draws."""
    if frame[value].dtype != bool:
        return "number"
    return "truth" if draws == 1 else "share"
