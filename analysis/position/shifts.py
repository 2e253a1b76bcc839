"""Content or position: one scene, shifted around its picture so that every content visits every position."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.criteria.scores import CRITERIA, scored
from analysis.models.loading import Loaded
from analysis.scenes.drawing import SIZE
from analysis.scenes.mosaic import Question, Questions, Scene
from analysis.statistics.grids import grid_side
from analysis.statistics.rankings import ranks
from analysis.statistics.token_tables import score_matrices


def rankings_under_shifts(
    loaded: Loaded,
    scene: Scene,
    question: Question,
    layers: Sequence[int],
    step: int = 1,
    criteria: Sequence[str] = CRITERIA,
    seed: int = 0,
) -> pd.DataFrame:
    """Rankings of the tokens of a scene under cyclic shifts of its picture, the question being the same.

    What leaves the picture on one side comes back on the other, so a shift makes a seam (and may cut a digit in two:
    see `step`); patches keep their pixels and, but for the seam, their neighbours.

    Args:
        loaded: model and processor; the vision tokens must be a square grid whose side divides a mosaic's 96 pixels.
        scene: what is shown.
        question: what is asked.
        layers: as for `analysis.score_tokens`.
        step: shift by multiples of so many tokens, down and right; (side / step)^2 pictures are run. A digit is a
            sixth of a side wide: in steps of that none is cut in two.
        criteria: columns of `analysis.score_tokens`.
        seed: of the column random.

    Returns:
        One row per (shift, layer, token): layer, content (the token's rank in the unshifted picture), position (where
        it is now), and each criterion's place in the ranking, from 0 (lowest score) to 1.

    Raises:
        ValueError: the tokens are no such grid, or `step` is no proper divisor of its side.
    """
    inputs = loaded.inputs([scene.image], [question.text])
    n = len(loaded.vision_positions(inputs)[0])
    side = grid_side(n)
    if SIZE % side or not 1 <= step < side or side % step:
        raise ValueError(
            f"the side of the grid of tokens must divide {SIZE} pixels, and a smaller step must divide it; got {side} "
            f"and {step}."
        )
    steps = [(down, right) for down in range(0, side, step) for right in range(0, side, step)]
    pixels = SIZE // side
    moved = [np.roll(scene.image, (down * pixels, right * pixels), (0, 1)) for down, right in steps]
    asked: Questions = [(Scene(image, scene.things), question) for image in moved]
    frames = []
    for (sample, layer), names, scores in score_matrices(scored(loaded, asked, layers, seed=seed), criteria):
        down, right = steps[sample]
        row, column = divmod(np.arange(n), side)
        content = (row - down) % side * side + (column - right) % side
        ranked = 1 - ranks(scores) / (n - 1)
        found = dict(zip(names, ranked, strict=True))
        frames.append(pd.DataFrame({"layer": layer, "content": content, "position": np.arange(n), **found}))
    return pd.concat(frames, ignore_index=True)


def content_position_shares(values: pd.DataFrame, column: str, step: int = 1) -> dict[str, float]:
    """Two-way analysis of variance: score = content + position + rest, as shares of the variance that add up to 1.

    With `step` above 1 contents visit only every step-th position, and the variance is the one within these classes.
    Of unrelated scores, n tokens a class, content and position have 1 / (n + 1) each.

    Args:
        values: one row for every content at every position (of its class): content, position, and `column`.
        column: what is split.
        step: the one of `rankings_under_shifts`.

    Raises:
        ValueError: a content does not visit all positions of its class just once, a value is NaN, or all are the same.

    >>> pairs = pd.DataFrame({"content": [0, 0, 1, 1], "position": [0, 1, 0, 1], "score": [0.0, 1.0, 2.0, 3.0]})
    >>> decompose(pairs, "score")
    {'content': 0.8, 'position': 0.2, 'rest': 0.0}
    """
    _check_complete(values, column, step)
    base = values[column].groupby(_classes(values, "position", step)).transform("mean")
    effects = {name: values[column].groupby(values[name]).transform("mean") - base for name in ("content", "position")}
    effects["rest"] = values[column] - base - effects["content"] - effects["position"]
    total = float(np.square(values[column] - base).sum())
    if total <= 1e-20 * float(np.square(values[column]).sum()):  # what rounding leaves of the same number everywhere
        raise ValueError(f"{column} must vary; it is the same for every content and position.")
    return {name: float(np.square(effect).sum()) / total for name, effect in effects.items()}


def content_position_table(
    loaded: Loaded, asked: Questions, layers: Sequence[int], step: int = 1, criteria: Sequence[str] = CRITERIA
) -> pd.DataFrame:
    """`content_position_shares` of every scene, layer and criterion.

    Returns:
        One row per (sample, layer, part, criterion): sample (the scene's index), layer, part ("content", "position",
        "rest"), criterion, value, and chance, the value of unrelated scores.

    Raises:
        ValueError: as `rankings_under_shifts`.
    """
    rows = []
    for sample, (scene, question) in enumerate(asked):
        table = rankings_under_shifts(loaded, scene, question, layers, step, criteria, seed=sample)
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


def _check_complete(values: pd.DataFrame, column: str, step: int) -> None:
    if values[column].isna().any():
        raise ValueError(f"{column} must be a number everywhere; got {values[column].isna().sum()} NaN.")
    if (_classes(values, "content", step) != _classes(values, "position", step)).any():
        raise ValueError(f"every content must stay in its class of positions, {step} apart; got others.")
    n = values.position.nunique() // step**2
    pairs = values.groupby("content").position.agg(["nunique", "size"])
    if not (len(values) == len(pairs) * n and (pairs == n).all(axis=None)):
        raise ValueError(f"every content must visit {n} positions once; got {len(values)} rows of {len(pairs)}.")
