"""All methods on one model at the same true layer average of vision tokens, and where a smaller picture would do."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import pandas as pd

from analysis.comparison.accuracy import NOTHING_DROPPED, accuracy, summarise_accuracy
from analysis.comparison.arguments import tokens_of_every_prompt
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.scenes.asked import asked
from analysis.scenes.questions import Questions
from analysis.statistics.draws import checked_answers
from analysis.statistics.frames import checked
from analysis.statistics.lists import among, different, name, numbers
from analysis.statistics.lists import names as name_list
from v2drop import METHODS, Method
from v2drop.models.parts import locate

DIFFICULTY = "difficulty"
TAKEN = ("method", "question", "draw", "right", DIFFICULTY)


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


def with_difficulty(
    answers: pd.DataFrame, budget: Hashable = "budget", by: Sequence[str] = (), judge: Hashable = "downsample"
) -> pd.DataFrame:
    """Answers, and how difficult their questions are at their budgets (VTC-Bench, arXiv 2510.07143).

    A question is "difficult" at a budget where a judge answers it wrongly, else "easy": what a smaller picture answers
    needs no choice of tokens. A question that the model answers wrongly with all tokens is neither.

    Args:
        answers: Rows with method, question, right, the budget, the columns of `by`, and draw where there are several.
            The model itself is the method "nothing dropped", whatever its budget.
        budget: The column of budgets.
        by: The columns that tell sets of questions apart, such as subject.
        judge: The method that judges; by its first draw, if it has several.

    Returns:
        The rows in their order, and difficulty: "easy", "difficult", or None for what is neither and where the judge
        has no answer.

    Raises:
        ValueError: The judge, or the model itself, is not in the frame, or a method has a question twice at a budget.
    """
    by = list(name_list("by", by, 0, [*TAKEN, name("budget", budget)]))
    answers = checked(answers, "frame", {"method": "label", "question": "label", "right": "truth"})
    undropped = answers.method == NOTHING_DROPPED
    judge = among("judge", judge, answers.method[~undropped])
    if not undropped.any():
        raise ValueError(f"the frame must hold the method {NOTHING_DROPPED!r}; got {different(answers.method)}.")
    whole = checked_answers(answers[undropped], by, {"right": "truth"})
    compared = checked_answers(answers[~undropped], ["method", *by, budget], {"right": "truth"})
    first = compared[compared.draw == 0] if "draw" in compared else compared
    judged = first[first.method == judge].set_index([*by, budget, "question"]).right
    answerable = pd.MultiIndex.from_frame(whole.loc[whole.right, [*by, "question"]])
    rows = pd.MultiIndex.from_frame(answers[[*by, budget, "question"]])
    known = pd.MultiIndex.from_frame(answers[[*by, "question"]]).isin(answerable) & ~undropped
    found = judged.reindex(rows).map({True: "easy", False: "difficult"}).to_numpy()
    return answers.assign(**{DIFFICULTY: pd.Series(found, answers.index).where(known & pd.notna(found), None)})


def accuracy_by_difficulty(frame: pd.DataFrame, judge: Hashable = "downsample") -> pd.DataFrame:
    """Accuracy on questions that a judge answers wrongly at the same budget ("difficult"), and on the others ("easy").

    Args:
        frame: The frame of `accuracy_at_averages`.
        judge: The method in it that judges; by its first draw, if it has several.

    Returns:
        One row per group, method and budget: these, mean, low, high, n (questions), draws.

    Raises:
        ValueError: As `with_difficulty`; no question is left.
    """
    judgeable = with_difficulty(frame, judge=judge).dropna(subset=DIFFICULTY)
    judgeable = judgeable[judgeable.method != judge].assign(group=lambda f: f[DIFFICULTY]).reset_index(drop=True)
    if judgeable.empty:
        raise ValueError(
            "there must be a question that the model answers rightly with all tokens and a method beside the judge at "
            f"its budget; got none of {frame.question.nunique()} questions."
        )
    return summarise_accuracy(judgeable, ["group", "method", "budget"])
