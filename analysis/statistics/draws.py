"""Several draws of one question: pooled before anything is compared, since they are no independent questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.frames import checked, in_order
from analysis.statistics.lists import name

OF_DRAWS = ["draws", "draw_variance", "sd_questions", "sd_draws"]  # columns that the functions below add


def checked_answers(answers: Any, keys: Sequence[str], columns: Mapping[str, str]) -> pd.DataFrame:
    """The checked frame of answers, each draw of a question once in each group.

    Args:
        answers: A frame with one row per draw of a question in each group: question, draw (without it: a single draw),
            the keys and further columns.
        keys: The columns that tell groups apart.
        columns: The further columns, with their kinds (`analysis.statistics.frames`).

    Raises:
        ValueError: The frame is empty or lacks a column, a column holds something else, or a question, or a draw of it,
            is there twice in a group.
    """
    labels, has_draws = [*keys, "question"], "draw" in getattr(answers, "columns", ())
    draw = {"draw": "counted"} if has_draws else {}
    return checked(answers, "frame", {**dict.fromkeys(labels, "label"), **columns, **draw}, [*labels, *draw])


def pooled_draws(answers: Any, keys: Sequence[str], value: str) -> pd.DataFrame:
    """The mean of a column over the draws of each question.

    Args:
        answers: A frame as for `checked_answers`.
        keys: The columns that tell groups apart.
        value: The column that is averaged.

    Returns:
        One row per group and question, in the order in which they occur: the keys, question, the value (float), draws
        (their number), draw_variance (of the value, due to the draws: their variance / their number; NaN for one).

    Raises:
        ValueError: As `checked_answers`; a value is no finite number.
    """
    frame = checked_answers(answers, keys, {name("value", value): "truth or number"}).astype({value: float})
    frame = in_order(frame, ["draw"]) if "draw" in frame else frame
    groups = frame.groupby([*keys, "question"], sort=False)
    pooled, draws = groups[value].mean().reset_index(), groups[value].size().to_numpy()
    return pooled.assign(draws=draws, draw_variance=groups[value].var().to_numpy() / draws)


def standard_deviations(pooled: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """What the mean over questions would differ by if other questions were asked, or others drawn on the same ones.

    The variance of the questions' values holds both. That of the draws is known where a question has several; the rest
    is due to the questions. Set to 0 where the draws alone would differ more.

    Args:
        pooled: The frame of `pooled_draws`.
        by: The columns that tell groups apart.
        value: The column that is averaged.

    Returns:
        One row per group, in the order in which they occur: sd_questions, sd_draws (standard deviations of the mean),
        draws (the largest number behind a question). With a single draw sd_draws is NaN and sd_questions holds both;
        with a single question sd_questions is NaN.
    """
    rows = []
    for _, group in pooled.groupby(list(by), sort=False):
        n, both = len(group), group[value].var() / len(group)
        draws = group.draw_variance.sum(skipna=False) / n**2
        questions = np.sqrt(max(0.0, both - np.nan_to_num(draws))) if n > 1 else np.nan
        rows.append((questions, np.sqrt(draws), group.draws.max()))
    return pd.DataFrame(rows, columns=["sd_questions", "sd_draws", "draws"])
