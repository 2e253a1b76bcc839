"""Questions about some pictures in a chat format, packed into one sequence a picture (`packing`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analysis.scenes.drawing import PATCH
from analysis.scenes.mosaic import Scene
from analysis.scenes.question_kinds import KINDS
from analysis.training.packing import place_of
from analysis.training.tower import TRAINING_SEED

BEHIND = "<|im_end|>\n<|im_start|>assistant\n"  # what follows a question in SmolLM2's chat format
BEFORE = "<|im_start|>user\n"


class ChatSlots(NamedTuple):
    """Questions about some scenes, with their answers, padded to equal slots.

    Attributes:
        tokens: Token ids, int64 [batch, sum of slots].
        labels: Next-token labels, int64 [batch, sum of slots]; -100: none.
        slots: The tokens of each slot.
        places: Row and column, from -1 to 1, of the digit of the first look and of the last, float32 [batch, question,
            2, 2]; NaN where a look is at several digits or at none.
    """

    tokens: Tensor
    labels: Tensor
    slots: tuple[int, ...]
    places: Tensor


class ChatWords:
    """Texts as token ids, each looked up once.

    Args:
        tokenizer: SmolLM2's.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Keep the tokenizer and its end of a turn."""
        self.end = tokenizer.eos_token_id
        self.ids = cache(lambda text: tuple(tokenizer(text, add_special_tokens=False).input_ids))


def chat_slots(scenes: Sequence[Scene], step: int, words: ChatWords, kinds: Sequence[str]) -> ChatSlots:
    """A question of every kind about every scene, drawn for a step of training; answers end with the turn."""
    rng = np.random.default_rng([TRAINING_SEED, step])
    drawn = [[KINDS[kind](scene, rng) for kind in kinds] for scene in scenes]
    asked = [[(words.ids(q.text + BEHIND), (*words.ids(q.answer), words.end)) for q in row] for row in drawn]
    columns = zip(*asked, strict=True)
    slots = tuple(max(len(question) + len(answer) - 1 for question, answer in column) for column in columns)
    tokens = torch.full((len(scenes), sum(slots)), words.end)
    labels = torch.full_like(tokens, -100)
    starts = np.cumsum([0, *slots])
    for row, questions in enumerate(asked):
        for start, (question, answer) in zip(starts, questions, strict=False):
            n, m = start + len(question), len(answer)
            tokens[row, start : n + m - 1] = torch.tensor([*question, *answer[:-1]])
            labels[row, n - 1 : n - 1 + m] = torch.tensor(answer)
    looks = [[(q.first, q.second or q.first) for q in row] for row in drawn]
    sides = [scene.grid * PATCH for scene in scenes]
    places = [[[place_of(d, side) for d in both] for both in row] for row, side in zip(looks, sides, strict=True)]
    return ChatSlots(tokens, labels, slots, torch.tensor(places))
