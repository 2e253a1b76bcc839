"""Content or position: a scene is shifted cyclically, so that every content occurs at every position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.criteria.scores import CRITERIA, scored
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.scenes.asked import asked, picture_of
from analysis.scenes.mosaic import Scene
from analysis.scenes.questions import Question, Questions
from analysis.statistics.frames import checked
from analysis.statistics.grids import grid_side
from analysis.statistics.lists import name, names
from analysis.statistics.rankings import ranks
from analysis.statistics.token_tables import score_matrices
from v2drop.arguments import whole_number


def rankings_under_shifts(
    loaded: Loaded,
    scene: Scene,
    question: Question,
    layers: Sequence[int],
    step: int = 1,
    criteria: Sequence[str] = CRITERIA,
    seed: int = 0,
) -> pd.DataFrame:
    """Rankings of a scene's tokens under cyclic shifts of its picture, with the same question.

    The part of the picture that is shifted out on one side comes in on the other. So a shift makes a seam, which may
    cut a digit in two. Patches keep their pixels and, except at the seam, their neighbours.

    Args:
        loaded: Model and processor; the vision tokens must be one square grid whose side divides the picture's pixels.
        scene: The scene.
        question: The question about it.
        layers: Decoder layers, counted from 0.
        step: The step of the shifts down and right, in tokens; (side / step)^2 pictures are run.
        criteria: The criteria that are ranked by.
        seed: The seed of the column random, which is drawn anew for every picture.

    Returns:
        One row per (shift, layer, token): layer, content (the token's vision_index in the unshifted picture), position
        (its vision_index in the shifted one), and for each criterion the rank, scaled from 0 (lowest score) to 1.

    Raises:
        ValueError: The picture is no square array, the tokens are not such a grid, or `step` is not a proper divisor of
            its side.
    """
    check_loaded(loaded)
    size = len(_square_array(picture_of(scene)))
    grids = loaded.token_grids(scene.image)
    side, n = grids[0].rows, grids[0].n_tokens
    if len(grids) > 1 or n != side**2:
        raise ValueError(f"a shifted picture must be one square grid of tokens, without tiles; got {list(grids)}.")
    if size % side or not 1 <= whole_number("step", step) < side or side % step:
        raise ValueError(
            f"the side of the grid of tokens must divide {size} pixels, and a smaller step must divide it; got {side} "
            f"and {step}."
        )
    steps = [(down, right) for down in range(0, side, step) for right in range(0, side, step)]
    pixels = size // side
    shifted = [np.roll(scene.image, (down * pixels, right * pixels), (0, 1)) for down, right in steps]
    questions: Questions = [(Scene(image), question) for image in shifted]
    frames = []
    for (sample, layer), there, scores in score_matrices(scored(loaded, questions, layers, seed=seed), criteria):
        down, right = steps[sample]
        row, column = divmod(np.arange(n), side)
        content = (row - down) % side * side + (column - right) % side
        scaled = dict(zip(there, 1 - ranks(scores) / (n - 1), strict=True))
        frames.append(pd.DataFrame({"layer": layer, "content": content, "position": np.arange(n), **scaled}))
    return pd.concat(frames, ignore_index=True)


def _square_array(picture: Any) -> np.ndarray:
    shape = np.shape(picture) if isinstance(picture, np.ndarray) else None
    if shape is None or len(shape) != 3 or shape[0] != shape[1]:
        got = type(picture).__name__ if shape is None else list(shape)
        raise ValueError(f"a picture that is shifted must be a uint8 array [side, side, 3]; got {got}.")
    return picture


def content_position_shares(values: pd.DataFrame, column: str, step: int = 1) -> dict[str, float]:
    """Shares of the variance of a score that are due to content, to position, and to the rest; they add up to 1.

    A two-way analysis of variance. With `step` above 1 a content occurs only at every step-th position; then it is the
    variance within these classes of positions. For unrelated scores, content and position have a share of 1 / (n + 1)
    each, n being the number of tokens in a class.

    Args:
        values: A frame with one row for every content at every position of its class: content, position, `column`.
        column: The column with the score.
        step: The step of `rankings_under_shifts`.

    Returns:
        The shares by name: content, position, rest.

    Raises:
        ValueError: A content does not occur once at every position of its class, a value is NaN or infinite, all are
            equal, or `step` is no proper divisor of the side of the grid.

    >>> pairs = pd.DataFrame({"content": [0, 0, 1, 1], "position": [0, 1, 0, 1], "score": [0.0, 1.0, 2.0, 3.0]})
    >>> content_position_shares(pairs, "score")
    {'content': 0.8, 'position': 0.2, 'rest': 0.0}
    """
    values = checked(values, "values", {"content": "counted", "position": "counted", name("column", column): "number"})
    if whole_number("step", step, 1) > 1 and grid_side(values.position.nunique()) % step:
        raise ValueError(
            f"step must divide the side of the grid; got {step} for {values.position.nunique()} positions."
        )
    _check_complete(values, step)
    base = values[column].groupby(_classes(values, "position", step)).transform("mean")
    effects = {name: values[column].groupby(values[name]).transform("mean") - base for name in ("content", "position")}
    effects["rest"] = values[column] - base - effects["content"] - effects["position"]
    total = float(np.square(values[column] - base).sum())
    if total <= 1e-20 * float(np.square(values[column]).sum()):  # rounding errors of equal numbers
        raise ValueError(f"{column} must vary; it is the same for every content and position.")
    return {name: float(np.square(effect).sum()) / total for name, effect in effects.items()}


def content_position_table(
    loaded: Loaded, questions: Questions, layers: Sequence[int], step: int = 1, criteria: Sequence[str] = CRITERIA
) -> pd.DataFrame:
    """The shares of content and position in every criterion's ranking, for every scene and layer.

    Args:
        loaded: Model and processor, as for `rankings_under_shifts`.
        questions: Scenes with a question each.
        layers: Decoder layers, counted from 0.
        step: The step of the shifts, in tokens.
        criteria: The criteria that are ranked by.

    Returns:
        One row per (sample, layer, part, criterion): sample (the scene's index), layer, part ("content", "position",
        "rest"), criterion, value (`content_position_shares`), and chance, the value of unrelated scores.

    Raises:
        ValueError: As for `rankings_under_shifts`.
    """
    rows, criteria = [], names("criteria", criteria)
    for sample, (scene, question) in enumerate(asked(questions)):
        table = rankings_under_shifts(loaded, scene, question, layers, step, criteria)
        n = table.content.nunique() // step**2
        chance = {"content": 1 / (n + 1), "position": 1 / (n + 1), "rest": (n - 1) / (n + 1)}
        for layer, group in table.groupby("layer"):
            for criterion in table.columns.drop(["layer", "content", "position"]):
                for part, share in content_position_shares(group, criterion, step).items():
                    rows.append((sample, layer, part, criterion, share, chance[part]))
    return pd.DataFrame(rows, columns=["sample", "layer", "part", "criterion", "value", "chance"])


def _classes(values: pd.DataFrame, name: str, step: int) -> pd.Series:
    side = math.isqrt(values.position.nunique())
    return values[name] // side % step * step + values[name] % side % step


def _check_complete(values: pd.DataFrame, step: int) -> None:
    if (_classes(values, "content", step) != _classes(values, "position", step)).any():
        raise ValueError(f"every content must stay in its class of positions, {step} apart; got others.")
    n = values.position.nunique() // step**2
    pairs = values.groupby("content").position.agg(["nunique", "size"])
    if not (len(values) == len(pairs) * n and (pairs == n).all(axis=None)):
        raise ValueError(f"every content must visit {n} positions once; got {len(values)} rows of {len(pairs)}.")
