"""What is known of each token and question of a mosaic: what lies on a token, and where the object asked about is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.scenes.drawing import GRID
from analysis.scenes.mosaic import Questions
from analysis.statistics.grids import grid_side

THIRDS = ("start", "middle", "end")


def patches_of(n_tokens: int) -> list[int]:
    """The patch of a mosaic in which the centre of each token lies, for a model that cuts it into another grid.

    Raises:
        ValueError: the tokens are no square grid.

    >>> patches_of(144) == list(range(144)), patches_of(4)
    (True, [39, 45, 111, 117])
    """
    side = grid_side(n_tokens)
    lines = [int((i + 0.5) / side * GRID) for i in range(side)]
    return [row * GRID + column for row in lines for column in lines]


def token_labels(asked: Questions, n_tokens: int) -> pd.DataFrame:
    """What lies on each token of each question's picture.

    Returns:
        One row per (sample, rank): these (the question's index, the token's rank among the picture's), and `on`:
        "relevant" (the question is about it), "other" (an object it is not about) or "background".

    Raises:
        ValueError: the tokens are no square grid.
    """
    patches, frames = patches_of(n_tokens), []
    for sample, (_, question) in enumerate(asked):
        on = np.full(GRID**2, "background", dtype=object)
        on[list(question.objects)] = "other"
        on[list(question.relevant)] = "relevant"
        frames.append(pd.DataFrame({"sample": sample, "rank": range(n_tokens), "on": on[patches]}))
    return pd.concat(frames, ignore_index=True)


def object_third(asked: Questions) -> pd.DataFrame:
    """In which third of the picture's rows the centre of what each question is about lies.

    Returns:
        One row per question that is about a single object: question (its index), place (one of THIRDS).
    """
    rows = []
    for number, (_, question) in enumerate(asked):
        if question.relevant and question.kind != "how-many":
            row = np.mean([patch // GRID for patch in question.relevant]) / (GRID - 1)
            rows.append((number, THIRDS[min(2, int(row * 3))]))
    return pd.DataFrame(rows, columns=["question", "place"])
