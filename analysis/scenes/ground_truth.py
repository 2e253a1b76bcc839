"""What is known of the tokens of mosaics and texts: what a token shows, and where the object asked about is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded, check_text_model
from analysis.models.text import LoadedText
from analysis.scenes.asked import asked, picture_of
from analysis.scenes.drawing import PATCH
from analysis.scenes.facts import TextQuestions
from analysis.scenes.mosaic import SIDE
from analysis.scenes.questions import Questions
from analysis.statistics.grids import Grids, token_centres

THIRDS = ("start", "middle", "end")
ABOUT_ONE_DIGIT = ("what", "colour", "where")


def patches_of(grids: Grids, grid: int = SIDE // PATCH) -> list[int]:
    """The mosaic's patch under the centre of each token, for a model that cuts the picture in any way; -1 for newlines.

    Args:
        grids: The picture's grids (`Loaded.token_grids`), or the number of tokens of one square grid.
        grid: The number of the mosaic's patches in a row (`Scene.grid`).

    Raises:
        ValueError: A number of tokens is not a square number.

    >>> patches_of(144) == list(range(144)), patches_of(4)
    (True, [39, 45, 111, 117])
    """
    centres = token_centres(grids)
    lines = np.nan_to_num(centres * grid).astype(int)
    return np.where(np.isnan(centres[:, 0]), -1, lines[:, 0] * grid + lines[:, 1]).tolist()


def token_labels(questions: Questions, grids: Grids) -> pd.DataFrame:
    """What each token of each question's picture shows.

    Args:
        questions: Scenes with a question each.
        grids: The grids of every picture (`Loaded.token_grids`), or the number of tokens of one square grid.

    Returns:
        One row per (sample, vision_index): sample (the question's index), vision_index (the token's index among those
        of its picture), label: "relevant" (an object the question is about), "other" (another object), "background",
        as which newlines count; look: 2 for relevant tokens that one looks at only after another digit was found
        (`Question.second`), 1 for the other relevant ones, 0 for the rest.

    Raises:
        ValueError: A number of tokens is not a square number, there is no question, or one is about a text
            (`text_labels`).
    """
    frames = []
    for sample, (scene, question) in enumerate(asked(questions, "objects", "relevant", "second")):
        picture_of(scene)
        patches = patches_of(grids, scene.grid)
        label = np.full(scene.grid**2 + 1, "background", dtype=object)  # the last for newlines
        label[list(question.objects)] = "other"
        label[list(question.relevant)] = "relevant"
        look = np.zeros(len(label), int)
        look[list(question.relevant)], look[list(question.second)] = 1, 2
        rows = {"sample": sample, "vision_index": range(len(patches)), "label": label[patches], "look": look[patches]}
        frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True)


def text_labels(loaded: LoadedText, questions: TextQuestions) -> pd.DataFrame:
    """What each token of each question's text says: the frame of `analysis.token_labels`.

    Args:
        loaded: A text model and its tokenizer.
        questions: Texts with a question each.

    Returns:
        One row per (sample, vision_index): these, label: "relevant" (a word of the fact asked about that the question
        holds, or the answer), "other" (another word of a fact), "background"; look: 2 for the answer, 1 for the other
        relevant tokens, 0 for the rest.

    Raises:
        ValueError: `loaded` is no text model, or there is no question.
    """
    check_text_model(loaded)
    frames = []
    for sample, (scene, question) in enumerate(asked(questions, "objects", "relevant", "second")):
        first, behind = np.transpose(loaded.text_spans(scene.text))
        label, look = np.full(len(first), "background", dtype=object), np.zeros(len(first), int)
        for name, spans, number in (
            ("other", question.objects, 0),
            ("relevant", question.relevant, 1),
            ("relevant", question.second, 2),
        ):
            for start, end in spans:
                held = (first < end) & (behind > start)
                label[held], look[held] = name, number
        rows = {"sample": sample, "vision_index": range(len(first)), "label": label, "look": look}
        frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True)


def labels_for(loaded: Loaded, questions: Questions) -> pd.DataFrame:
    """What each token that a model makes of each question's picture or text shows.

    Args:
        loaded: Model and processor.
        questions: Scenes, or texts for a text model, with a question each.

    Returns:
        The frame of `token_labels`, by each picture's own grids, or of `text_labels`.

    Raises:
        ValueError: There is no question, or the family's layout does not fit the number of tokens.
    """
    check_loaded(loaded)
    if isinstance(loaded, LoadedText):
        return text_labels(loaded, questions)
    pairs = asked(questions, "objects", "relevant", "second")
    frames = [token_labels([pair], loaded.token_grids(picture_of(pair[0]))) for pair in pairs]
    return pd.concat([frame.assign(sample=i) for i, frame in enumerate(frames)], ignore_index=True)


def object_third(questions: Questions) -> pd.DataFrame:
    """The third of the picture, from top to bottom, in which the digit asked about is centred.

    Args:
        questions: Scenes with a question each.

    Returns:
        One row per question that is about a single digit: question (its index), place (one of THIRDS).

    Raises:
        ValueError: There is no question.
    """
    rows = []
    for number, (scene, question) in enumerate(asked(questions, "relevant", "kind")):
        if question.relevant and question.kind in ABOUT_ONE_DIGIT:
            row = np.mean([patch // scene.grid for patch in question.relevant]) / (scene.grid - 1)
            rows.append((number, THIRDS[min(2, int(row * 3))]))
    return pd.DataFrame(rows, columns=["question", "place"])
