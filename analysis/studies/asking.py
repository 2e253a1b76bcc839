"""The cell of most ablations: the answers of a model under one method, on a slice of the questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.comparison.accuracy import NOTHING_DROPPED, accuracy
from analysis.comparison.arguments import tokens_of_every_prompt
from analysis.comparison.named_method import FINE, check_ways, named_method
from analysis.models.loaded import Loaded
from analysis.models.text import LoadedText
from analysis.scenes.questions import Questions
from analysis.studies.cells.models import model_of, questions_of
from analysis.studies.cells.rows import as_column
from v2drop import METHODS, Method
from v2drop.arguments import one_of, seed_number, whole_number


def ask(
    subject: str,
    method: str | Mapping[str, str],
    *,
    average: float | int | None = None,
    layers: Sequence[int] | None = None,
    depths: Sequence[float] | None = None,
    left: Mapping[str, float | int] | None = None,
    options: Mapping[str, Any] | None = None,
    first: int = 0,
    n: int = 200,
    seed: int = 0,
    draws: int = 1,
    max_new_tokens: int = 8,
) -> pd.DataFrame:
    """The cell of most ablations: the answers of a model under one method, on a slice of the questions.

    Args:
        subject: The model: a key of `analysis.SUBJECTS`, a folder or a hub id.
        method: A name in `v2drop.METHODS`, or "nothing dropped"; or names by the layer (as text) from which each drops,
            as {"1": "v2drop", "6": "random"} (`v2drop.Composed`).
        average: The true layer average of vision tokens, an int for their number or a float for their share of the
            prompt's; None where `left` is given.
        layers: The drop layers of `average`.
        depths: Or their depths, shares of the decoder's layers, rounded. Without both, the method's own layers
            (`Method.for_average`).
        left: The tokens or the share of them that is left from each drop layer on, as `Schedule` takes it, with the
            layers as texts.
        options: Further arguments of the method, by name.
        first: The number of the first question.
        n: The number of questions.
        seed: The seed of the questions.
        draws: As for `analysis.accuracy`.
        max_new_tokens: As for `analysis.accuracy`.

    Returns:
        One row per question and draw: question, draw, kind, answer, reply, right, log_probability, average_tokens,
        schedule (as text, such as "1: 100; 6: 71; 8: 50"; "" without one).

    Raises:
        ValueError: A name, an option or a number is none, a schedule is told twice or not at all, or the average cannot
            be reached.
    """
    first, n, seed = whole_number("first", first, 0), whole_number("n", n, 1), seed_number(seed)
    loaded, questions = model_of(subject), questions_of(subject, first + n, seed)[first:]
    told = {"average": average, "layers": layers, "depths": depths, "left": left}
    if isinstance(method, str):
        one_of("method", method, [NOTHING_DROPPED, *METHODS])
    made = None if method == NOTHING_DROPPED else method_of(loaded, questions, method, options or {}, **told)
    found = accuracy(loaded, questions, {"": made}, draws=draws, max_new_tokens=max_new_tokens)
    schedule = as_column({str(k): v for k, v in made.schedule.left.items()}) if made else ""
    return found.drop(columns="method").assign(question=found.question + first, schedule=schedule)


def method_of(
    loaded: Loaded,
    questions: Questions,
    method: str | Mapping[str, str],
    options: Mapping[str, Any],
    average: float | int | None,
    layers: Sequence[int] | None,
    depths: Sequence[float] | None,
    left: Mapping[str, float | int] | None,
) -> Method:
    """The method of a cell, from arguments as for `ask`.

    Raises:
        ValueError: As for `ask`.
    """
    told = {"average": average, "layers": layers, "depths": depths, "left": left}
    check_ways(**told)
    if isinstance(loaded, LoadedText):
        return named_method(method, options, FINE, loaded.n_layers, as_shares=True, **told)
    n_tokens = tokens_of_every_prompt(loaded, questions[:1]) if left is None else 0
    return named_method(method, options, n_tokens, loaded.n_layers, **told)
