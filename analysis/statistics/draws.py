"""Several draws of one question: pooled before anything is compared, since they are no independent questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.statistics.frames import checked, in_order
from analysis.statistics.lists import name


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
        (their number).

    Raises:
        ValueError: As `checked_answers`; a value is no finite number.
    """
    frame = checked_answers(answers, keys, {name("value", value): "number"})
    frame = in_order(frame, ["draw"]) if "draw" in frame else frame
    groups = frame.groupby([*keys, "question"], sort=False)
    pooled = groups[value].mean().reset_index()
    return pooled.assign(draws=groups.draw.nunique().to_numpy() if "draw" in frame else 1)
