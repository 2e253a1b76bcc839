"""Many questions about one picture in one sequence, each seeing the picture and itself only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from analysis.scenes.mosaic import Scene
from analysis.scenes.questions import question
from analysis.training.model import EOS, PAD
from analysis.training.tower import TRAINING_SEED

# How often a scene is asked each kind, and the longest question of the kind in words.
ASKED = {
    "what": (2, 4),
    "colour": (2, 4),
    "is-there": (2, 4),
    "how-many": (1, 3),
    "where": (2, 4),
    "how-many-of": (3, 4),
    "next-to-colour": (4, 8),
    "next-to-digit": (4, 7),
    "largest": (2, 5),
    "twice": (1, 4),
}
KINDS = tuple(kind for kind, (times, _) in ASKED.items() for _ in range(times))
SLOTS = tuple(ASKED[kind][1] + 1 for kind in KINDS)  # tokens of each packed question: its words and the answer


def pack_questions(scenes: list[Scene], step: int, ids: Callable) -> tuple[Tensor, Tensor]:
    """Packed questions: token ids and next-token labels (-100: none), int64 [batch, sum of SLOTS]."""
    rng = np.random.default_rng([TRAINING_SEED, step])
    tokens, labels = [], []
    for each in scenes:
        row, row_labels = [], []
        for kind, slot in zip(KINDS, SLOTS, strict=True):
            asked = question(each, kind, rng)
            words = ids(asked.text.split())
            answer, pad = ids([asked.answer, EOS]), slot - 1 - len(words)
            row += [*words, answer[0], *ids([PAD] * pad)]
            row_labels += [*[-100] * (len(words) - 1), *answer, *[-100] * pad]
        tokens.append(row)
        labels.append(row_labels)
    return torch.tensor(tokens), torch.tensor(labels)


def packing_mask(image_end: int) -> tuple[Tensor, Tensor]:
    """Block mask, bool [1, 1, length, length], and position ids, int64 [1, length]: a slot sees image and itself.

    Args:
        image_end: The number of tokens in front of the first question: `<s>` and the vision tokens.
    """
    lengths = torch.tensor(SLOTS)
    slot = torch.cat(
        [torch.zeros(image_end, dtype=torch.long), torch.arange(len(SLOTS)).repeat_interleave(lengths) + 1]
    )
    order = torch.arange(len(slot))
    mask = (order[:, None] >= order) & ((slot == 0) | (slot[:, None] == slot))
    positions = torch.cat([torch.arange(image_end), *(image_end + torch.arange(length) for length in SLOTS)])
    return mask[None, None], positions[None]
