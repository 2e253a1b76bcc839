"""All methods on one model at the same true layer average of vision tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import pandas as pd

from analysis.comparison.accuracy import NOTHING_DROPPED, accuracy
from analysis.comparison.arguments import tokens_of_every_prompt
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.scenes.asked import asked
from analysis.scenes.questions import Questions
from analysis.statistics.lists import names as name_list
from analysis.statistics.lists import numbers
from v2drop import METHODS, Method
from v2drop.models.parts import locate


def methods_at_average(
    average: float | int, n_tokens: int, n_layers: int, names: Iterable[str] | None = None
) -> dict[str, Method]:
    """Methods at one true layer average, each of which drops at its released depths (`Method.for_average`).

    Args:
        average: The layer average of vision tokens.
        n_tokens: The number of vision tokens of a prompt with one picture.
        n_layers: The number of decoder layers.
        names: Names in `v2drop.METHODS`; None for all methods but those that compare the frames of a video.

    Returns:
        The methods by name.

    Raises:
        ValueError: A name is unknown, or a method cannot reach the average.
    """
    names = (
        [name for name, kind in METHODS.items() if not kind.needs_frames]
        if names is None
        else name_list("names", names)
    )
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise ValueError(f"names must be of METHODS, {', '.join(METHODS)}; got {', '.join(map(str, unknown))}.")
    return {name: METHODS[name].for_average(average, n_tokens, n_layers) for name in names}


def fitting_methods(loaded: Loaded) -> list[str]:
    """The names in `v2drop.METHODS` of the methods for single pictures that work on a model.

    Left out are methods that compare the frames of a video, and those that read a tower which the model does not have.

    Args:
        loaded: Model and processor.

    Raises:
        ValueError: `loaded` is no model with its processor.
    """
    check_loaded(loaded)
    parts = locate(loaded.model)
    return [
        name
        for name, kind in METHODS.items()
        if not kind.needs_frames and not (kind.needs_tower and parts.vision_tower is None)
    ]


def accuracy_at_averages(
    loaded: Loaded,
    questions: Questions,
    averages: Sequence[float | int] | float | int,
    names: Iterable[str] | None = None,
    **options: int,
) -> pd.DataFrame:
    """The frame of `accuracy` for every method at every true layer average, and for the model itself.

    Args:
        loaded: Model and processor.
        questions: Pairs as for `accuracy`, whose prompts have the same number of vision tokens.
        averages: True layer averages of vision tokens.
        names: Names in `v2drop.METHODS`; None for all methods but those that compare the frames of a video.
        **options: Further arguments of `accuracy`.

    Returns:
        The columns of `accuracy`, and budget. The model itself is the method "nothing dropped".

    Raises:
        ValueError: A name is unknown, a method cannot reach an average, or as for `accuracy`.
    """
    check_loaded(loaded)
    averages, questions = numbers("averages", averages, 0), asked(questions)
    n_tokens = tokens_of_every_prompt(loaded, questions)
    methods: dict[Hashable, Method | None] = {(NOTHING_DROPPED, n_tokens): None}
    names = None if names is None else name_list("names", names)
    for average in averages:
        at_average = methods_at_average(average, n_tokens, loaded.n_layers, names)
        methods |= {(name, average): method for name, method in at_average.items()}
    frame = accuracy(loaded, questions, methods, **options)
    frame.insert(1, "budget", [budget for _, budget in frame.method])
    return frame.assign(method=[name for name, _ in frame.method])
