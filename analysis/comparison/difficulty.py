"""Questions that need a choice of tokens, and those a smaller picture answers (VTC-Bench, arXiv 2510.07143)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pandas as pd

from analysis.comparison.accuracy import NOTHING_DROPPED, summarise_accuracy
from analysis.statistics.draws import checked_answers
from analysis.statistics.frames import checked
from analysis.statistics.lists import among, different, name, names

DIFFICULTY = "difficulty"
TAKEN = ("method", "question", "draw", "right", DIFFICULTY)


def with_difficulty(
    answers: pd.DataFrame, budget: Hashable = "budget", by: Sequence[str] = (), judge: Hashable = "downsample"
) -> pd.DataFrame:
    """Answers, and how difficult their questions are at their budgets.

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
    by = list(names("by", by, 0, [*TAKEN, name("budget", budget)]))
    answers = checked(answers, "frame", {"method": "label", "question": "label", "right": "truth"})
    judge, undropped = among("judge", judge, answers.method), answers.method == NOTHING_DROPPED
    if not undropped.any():
        raise ValueError(f"the frame must hold the method {NOTHING_DROPPED!r}; got {different(answers.method)}.")
    whole = checked_answers(answers[undropped], by, {"right": "truth"})
    if undropped.all():
        return answers.assign(**{DIFFICULTY: None})
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
