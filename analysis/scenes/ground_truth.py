"""What is known of the tokens and questions of mosaics: what a token shows, and where the object asked about is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.scenes.asked import asked
from analysis.scenes.drawing import GRID
from analysis.scenes.mosaic import Questions
from analysis.statistics.grids import Grids, token_centres

THIRDS = ("start", "middle", "end")


def patches_of(grids: Grids) -> list[int]:
    """The mosaic's patch under the centre of each token, for a model that cuts the picture in any way; -1 for newlines.

    Args:
        grids: The picture's grids (`Loaded.token_grids`), or the number of tokens of one square grid.

    Raises:
        ValueError: A number of tokens is not a square number.

    >>> patches_of(144) == list(range(144)), patches_of(4)
    (True, [39, 45, 111, 117])
    """
    centres = token_centres(grids)
    lines = np.nan_to_num(centres * GRID).astype(int)
    return np.where(np.isnan(centres[:, 0]), -1, lines[:, 0] * GRID + lines[:, 1]).tolist()


def token_labels(questions: Questions, grids: Grids) -> pd.DataFrame:
    """What each token of each question's picture shows.

    Args:
        questions: Scenes with a question each.
        grids: The grids of every picture (`Loaded.token_grids`), or the number of tokens of one square grid.

    Returns:
        One row per (sample, vision_index): sample (the question's index), vision_index (the token's index among those
        of its picture), label: "relevant" (an object the question is about), "other" (another object), "background",
        as which newlines count.

    Raises:
        ValueError: A number of tokens is not a square number, or there is no question.
    """
    patches, frames = patches_of(grids), []
    for sample, (_, question) in enumerate(asked(questions, "objects", "relevant")):
        label = np.full(GRID**2 + 1, "background", dtype=object)  # the last for newlines
        label[list(question.objects)] = "other"
        label[list(question.relevant)] = "relevant"
        rows = {"sample": sample, "vision_index": range(len(patches)), "label": label[patches]}
        frames.append(pd.DataFrame(rows))
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
    for number, (_, question) in enumerate(asked(questions, "relevant", "kind")):
        if question.relevant and question.kind != "how-many":
            row = np.mean([patch // GRID for patch in question.relevant]) / (GRID - 1)
            rows.append((number, THIRDS[min(2, int(row * 3))]))
    return pd.DataFrame(rows, columns=["question", "place"])
