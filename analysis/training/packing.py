"""Many questions about one picture in one sequence, each seeing the picture and itself only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analysis.scenes.drawing import PATCH
from analysis.scenes.mosaic import Digit, Scene
from analysis.scenes.question_kinds import KINDS
from analysis.training.model import EOS, PAD
from analysis.training.tower import TRAINING_SEED

LONGEST = {  # question of a kind, in words
    "what": 4,
    "colour": 4,
    "is-there": 4,
    "how-many": 3,
    "where": 4,
    "how-many-of": 4,
    "next-to-colour": 8,
    "next-to-digit": 7,
    "largest": 5,
    "twice": 4,
}


class Packing(NamedTuple):
    """Which questions are asked about every scene, in order.

    Attributes:
        kinds: The kind of each.
        slots: Its tokens: as many as the longest question of the kind has words, and the answer.
    """

    kinds: tuple[str, ...]
    slots: tuple[int, ...]


def packing(times: tuple[int, ...]) -> Packing:
    """The packing that asks about every scene each kind so many times, in the order of LONGEST."""
    kinds = tuple(kind for kind, n in zip(LONGEST, times, strict=True) for _ in range(n))
    return Packing(kinds, tuple(LONGEST[kind] + 1 for kind in kinds))


ONE_LOOK = packing((4, 4, 4, 1, 3, 2, 0, 0, 0, 0))
ALL = packing((2, 2, 2, 1, 2, 3, 4, 4, 2, 1))


class Packed(NamedTuple):
    """Questions about some scenes.

    Attributes:
        tokens: Token ids, int64 [batch, sum of slots].
        labels: Next-token labels, int64 [batch, sum of slots]; -100: none.
        places: Row and column, from -1 to 1, of the digit of the first look and of the last, float32 [batch, question,
            2, 2]; NaN where a look is at several digits or at none.
    """

    tokens: Tensor
    labels: Tensor
    places: Tensor


def pack_questions(scenes: list[Scene], step: int, ids: Callable, asked: Packing) -> Packed:
    """Questions about scenes, drawn for a step of training."""
    rng = np.random.default_rng([TRAINING_SEED, step])
    tokens, labels, places = [], [], []
    for each in scenes:
        row, row_labels = [], []
        for kind, slot in zip(*asked, strict=True):
            drawn = KINDS[kind](each, rng)
            places.append(
                [place_of(digits, each.grid * PATCH) for digits in (drawn.first, drawn.second or drawn.first)]
            )
            words = ids(drawn.text.split())
            answer, pad = ids([drawn.answer, EOS]), slot - 1 - len(words)
            row += [*words, answer[0], *ids([PAD] * pad)]
            row_labels += [*[-100] * (len(words) - 1), *answer, *[-100] * pad]
        tokens.append(row)
        labels.append(row_labels)
    shape = (len(scenes), len(asked.kinds), 2, 2)
    return Packed(torch.tensor(tokens), torch.tensor(labels), torch.tensor(places).view(shape))


def place_of(digits: list[Digit], side: int) -> tuple[float, float]:
    """Row and column of the only digit among these, from -1 to 1 over a picture of this side; NaN if there are several.

    Args:
        digits: The digits that a look is at.
        side: The picture's side in pixels.
    """
    if len(digits) != 1:
        return math.nan, math.nan
    row, column = (2 * line / side - 1 for line in digits[0].centre)
    return row, column


def packing_mask(image_end: int, slots: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Block mask, bool [1, 1, length, length], and position ids, int64 [1, length]: a slot sees image and itself.

    Args:
        image_end: The number of tokens in front of the first question: `<s>` and the vision tokens.
        slots: The tokens of each question.
    """
    lengths = torch.tensor(slots)
    slot = torch.cat(
        [torch.zeros(image_end, dtype=torch.long), torch.arange(len(slots)).repeat_interleave(lengths) + 1]
    )
    order = torch.arange(len(slot))
    mask = (order[:, None] >= order) & ((slot == 0) | (slot[:, None] == slot))
    positions = torch.cat([torch.arange(image_end), *(image_end + torch.arange(length) for length in slots)])
    return mask[None, None], positions[None]
