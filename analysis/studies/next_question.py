"""The cell of the study of several questions about one picture: what a first one's dropping costs the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from analysis.models.loaded import Loaded
from analysis.scenes.answers import is_right
from analysis.scenes.asked import prompts
from analysis.scenes.questions import questions_each
from analysis.studies.asking import method_of
from analysis.studies.cells.models import model_of
from v2drop.arguments import seed_number, whole_number

APART = 3  # kinds between the first question about a picture and the next
AFTER, ALONE = "after another", "alone"


@torch.no_grad()
def ask_next(
    subject: str,
    method: str | Mapping[str, str],
    *,
    average: float | int,
    layers: Sequence[int] | None = None,
    depths: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
    first: int = 0,
    n: int = 200,
    seed: int = 0,
    max_new_tokens: int = 8,
) -> pd.DataFrame:
    """The answers to a question about a picture, asked alone and asked on what another one's dropping left.

    Two questions of different kinds about each picture. The first is prefilled; its text is then cut off the KV caches,
    so that only the picture's tokens are left that its drops left, and the second question goes on from there, as a
    server does that caches pictures. No answer is in between: the models here were trained on single questions. Methods
    that drop before the language model cannot take part, since their caches cannot be cut.

    Args:
        subject: As for `ask`, a model that is asked about pictures.
        method: As for `ask`, but for "nothing dropped".
        average: As for `ask`.
        layers: As for `ask`.
        depths: As for `ask`.
        options: As for `ask`.
        first: The number of the first picture.
        n: The number of pictures.
        seed: The seed of the pictures.
        max_new_tokens: The length of the longest reply.

    Returns:
        Two rows per picture: question (the picture's number), asked ("alone", "after another"), kind (of the question),
        first_kind (of the other one), answer, reply, right, same_tokens (the share of the tokens behind the last drop
        that both questions leave).

    Raises:
        ValueError: As for `ask`.
    """
    first, n, seed = whole_number("first", first, 0), whole_number("n", n, 1), seed_number(seed)
    loaded, rows = model_of(subject), []
    for number, (asked, earlier) in _pairs(first, n, seed):
        told = {"average": average, "layers": layers, "depths": depths, "left": None}
        made = method_of(loaded, [asked], method, options or {}, **told)
        alone, left = _reply(loaded, made, asked, asked, max_new_tokens)
        after, left_by_other = _reply(loaded, made, earlier, asked, max_new_tokens)
        same = len(left & left_by_other) / max(1, len(left))
        question = asked[1]
        for name, reply in ((ALONE, alone), (AFTER, after)):
            right = is_right(reply, question.answer)
            rows.append((number, name, question.kind, earlier[1].kind, question.answer, reply, right, same))
    columns = ["question", "asked", "kind", "first_kind", "answer", "reply", "right", "same_tokens"]
    return pd.DataFrame(rows, columns=columns)


def _pairs(first: int, n: int, seed: int) -> list[tuple[int, tuple]]:
    """By picture: the question that is asked, and one of another kind that was asked before."""
    asked, scenes = questions_each(first + n, seed)
    n_kinds = len(asked) // (first + n)
    by_scene = [
        [pair for pair, scene in zip(asked, scenes, strict=True) if scene == i] for i in range(first, first + n)
    ]
    return [(i, (pairs[i % n_kinds], pairs[(i + APART) % n_kinds])) for i, pairs in enumerate(by_scene, start=first)]


def _reply(loaded: Loaded, method: Any, prefilled: Any, asked: Any, max_new_tokens: int) -> tuple[str, set[int]]:
    """The reply to a question on the picture's tokens that another one's drops left, and these tokens."""
    inputs, others = prompts(loaded, [prefilled]), prompts(loaded, [asked])
    with loaded.dropping(method, inputs) as trace:
        cache = loaded.model(**inputs, use_cache=True).past_key_values
        behind = inputs["input_ids"].shape[1] - 1 - loaded.vision_positions(inputs)[0][-1]
        cache.crop(-behind)  # below zero: so many from the end, in every layer, however much it holds
        text = others["input_ids"][:, loaded.vision_positions(others)[0][-1] + 1 :]
        reply = _greedy(loaded, text, cache, max_new_tokens)
        kept = set(trace.kept[max(trace.kept)][0].tolist()) if trace.kept else set()
    return loaded.processor.decode(reply, skip_special_tokens=True), kept


def _greedy(loaded: Loaded, ids: Tensor, cache: Any, max_new_tokens: int) -> list[int]:
    """The ids that follow others on a cache, each the most probable, up to the end of the reply."""
    ends = loaded.model.generation_config.eos_token_id
    ends, found = {ends} if isinstance(ends, int) else set(ends or ()), []
    while len(found) < max_new_tokens and not ends & set(found):
        logits = loaded.model(input_ids=ids, past_key_values=cache, use_cache=True).logits
        found.append(int(logits[0, -1].argmax()))
        ids = ids.new_tensor([found[-1:]])
    return found
