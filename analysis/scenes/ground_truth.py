"""What is known of the tokens and questions of mosaics: what a token shows, and where the object asked about is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.scenes.asked import asked
from analysis.scenes.drawing import GRID
from analysis.scenes.mosaic import Questions
from analysis.statistics.grids import grid_side
from v2drop.arguments import whole_number

THIRDS = ("start", "middle", "end")


def patches_of(n_tokens: int) -> list[int]:
    """The mosaic's patch under the centre of each token, for a model that cuts the picture into any square grid.

    Raises:
        ValueError: `n_tokens` is not a square number of 1 or more.

    >>> patches_of(144) == list(range(144)), patches_of(4)
    (True, [39, 45, 111, 117])
    """
    side = grid_side(whole_number("n_tokens", n_tokens, 1))
    lines = [int((i + 0.5) / side * GRID) for i in range(side)]
    return [row * GRID + column for row in lines for column in lines]


def token_labels(questions: Questions, n_tokens: int) -> pd.DataFrame:
    """What each token of each question's picture shows.

    Args:
        questions: Scenes with a question each.
        n_tokens: The number of vision tokens of a picture, a square grid row by row.

    Returns:
        One row per (sample, vision_index): sample (the question's index), vision_index (the token's index among those
        of its picture), label: "relevant" (an object the question is about), "other" (another object), "background".

    Raises:
        ValueError: `n_tokens` is not a square number of 1 or more, or there are no questions.
    """
    patches, frames = patches_of(n_tokens), []
    for sample, (_, question) in enumerate(asked(questions)):
        label = np.full(GRID**2, "background", dtype=object)
        label[list(question.objects)] = "other"
        label[list(question.relevant)] = "relevant"
        frames.append(pd.DataFrame({"sample": sample, "vision_index": range(n_tokens), "label": label[patches]}))
    return pd.concat(frames, ignore_index=True)


def object_third(questions: Questions) -> pd.DataFrame:
    """The third of the picture, from top to bottom, in which the object asked about is centred.

    Args:
        questions: Scenes with a question each.

    Returns:
        One row per question that is about a single object: question (its index), place (one of THIRDS).

    Raises:
        ValueError: There is no question.
    """
    rows = []
    for number, (_, question) in enumerate(asked(questions)):
        if question.relevant and question.kind != "how-many":
            row = np.mean([patch // GRID for patch in question.relevant]) / (GRID - 1)
            rows.append((number, THIRDS[min(2, int(row * 3))]))
    return pd.DataFrame(rows, columns=["question", "place"])
