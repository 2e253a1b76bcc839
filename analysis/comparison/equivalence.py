"""What "no difference" can mean: equivalence within a margin, and the difference that would have been found."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pandas as pd

from analysis.comparison.pairs import comparisons_with
from analysis.statistics.draws import OF_DRAWS
from analysis.statistics.lists import names
from analysis.statistics.paired import detectable_difference
from v2drop.arguments import number

COLUMNS = ["mean", "low_90", "high_90", "margin", "equivalent", "detectable", "n", "draws"]


def equivalence(
    frame: pd.DataFrame, baseline: Hashable, by: Sequence[str], margin: float | int, value: str = "right"
) -> pd.DataFrame:
    """Whether every method is equivalent to a baseline on the same questions, within a margin.

    Two one-sided tests at 5 % (TOST; Schuirmann 1987) reject a difference of the margin or more if the 90 % interval
    lies inside the margins. An interval that does not, and does not exclude 0 either, says neither; `detectable` then
    says which difference would have been found.

    Args:
        frame: The frame of `analysis.accuracy`, with any further columns named in `by`.
        baseline: The method that is subtracted.
        by: The columns that tell comparisons apart beside the method, as ["budget"].
        margin: The smallest difference that would matter, above 0, in units of the value (.03: three points).
        value: The column that is compared, "right" or "log_probability".

    Returns:
        One row per method and comparison: method, `by`, mean (of the differences), low_90, high_90 (the interval of
        `analysis.paired_difference` at 90 %), margin, equivalent (bool; False where there is no interval), detectable
        (the smallest true difference that the two-sided test at 5 % finds with 80 % power at this number of questions
        and this spread of the differences; NaN where there is no interval), n (questions), draws.

    Raises:
        ValueError: `margin` is no number above 0, or as for `analysis.paired_difference`.
    """
    by = names("by", by, least=0, besides=["method", "question", value, *OF_DRAWS, *COLUMNS])
    if number("margin", margin) <= 0:
        raise ValueError(f"margin must be above 0, the smallest difference that would matter; got {margin}.")
    rows = []
    for key, found, draws in comparisons_with(frame, baseline, by, value, level=0.9):
        inside = -margin < found.low and found.high < margin
        rows.append((*key, *found[:3], margin, inside, detectable_difference(found), found.n, draws))
    return pd.DataFrame(rows, columns=["method", *by, *COLUMNS])
