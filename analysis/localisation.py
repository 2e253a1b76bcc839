"""Do the kept tokens cover what is in the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import torch

from analysis.accuracy import Asked
from analysis.loading import Loaded
from analysis.mosaic import GRID
from v2drop import Method


def grid_side(n_tokens: int) -> int:
    """Tokens in a row of a square grid.

    Raises:
        ValueError: the tokens are no square grid.
    """
    side = math.isqrt(n_tokens)
    if side * side != n_tokens:
        raise ValueError(f"n_tokens must be a square number, a grid of patches; got {n_tokens}.")
    return side


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


@torch.no_grad()
def coverage(loaded: Loaded, asked: Asked, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """How many of the tokens on digits, and of those beside them, are left after the drop of one layer.

    Args:
        loaded: model and processor.
        asked: scenes with a question each.
        methods: by the name they get in the frame.
        layer: of their schedules.

    Returns:
        One row per (method, question): method, question, on_digits and beside, the shares kept.

    Raises:
        ValueError: the model's vision tokens are no square grid.
    """
    rows = []
    for i, (scene, question) in enumerate(asked):
        inputs = loaded.inputs([scene.image], [question.text])
        positions = loaded.vision_positions(inputs)[0]
        patches = patches_of(len(positions))
        objects = {p for p, patch in zip(positions, patches, strict=True) if patch in question.objects}
        for name, method in methods.items():
            with method(loaded.model) as trace:
                loaded.model(**inputs, logits_to_keep=1)
            kept = set(trace.kept[layer][0].tolist())
            beside = len(kept - objects) / (len(positions) - len(objects))
            rows.append((name, i, len(kept & objects) / len(objects), beside))
    return pd.DataFrame(rows, columns=["method", "question", "on_digits", "beside"])
