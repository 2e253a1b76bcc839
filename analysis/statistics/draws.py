"""Several draws of one question: pooled before anything is compared, since they are no independent questions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def pooled_draws(answers: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """The mean of a column over the draws of each question.

    Args:
        answers: A frame with one row per draw of a question in each group: question, draw (without it: a single draw),
            the keys and the value.
        keys: The columns that tell groups apart.
        value: The column that is averaged.

    Returns:
        One row per group and question, in the order in which they occur: the keys, question, the value (float), draws
        (their number).

    Raises:
        ValueError: A question, or a draw of it, is there twice in a group.
    """
    once = [*keys, "question", *(["draw"] if "draw" in answers else [])]
    twice = int(answers.duplicated(once).sum())
    if twice:
        raise ValueError(
            f"each of {', '.join(once)} must be there once; got {twice} rows again. If question sets were joined, "
            "number their questions on; if settings were, name their column too."
        )
    groups = answers.astype({value: float}).groupby([*keys, "question"], sort=False)
    pooled = groups[value].mean().reset_index()
    n_draws = groups.draw.nunique().to_numpy() if "draw" in answers else 1
    return pooled.assign(draws=n_draws)
