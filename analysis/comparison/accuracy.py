"""Accuracy under methods and budgets: right answers, and the log probability of the right one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import pandas as pd
import torch

from analysis.comparison.arguments import checked_makers, checked_methods, tokens_of_every_prompt
from analysis.comparison.replies import answer_likelihoods, average_by_row, greedy, likelihoods_under
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.progress import progress_bar
from analysis.scenes.answers import is_right
from analysis.scenes.asked import asked, prompts
from analysis.scenes.question_seeds import has_seed, with_question_seeds
from analysis.scenes.questions import Questions
from analysis.statistics.draws import OF_DRAWS, checked_answers, pooled_draws, standard_deviations
from analysis.statistics.intervals import MEANS, mean_by_group
from analysis.statistics.lists import name, names, numbers
from v2drop import Method, Schedule, V2Drop
from v2drop.arguments import whole_number

MethodForBatch = Callable[[Sequence[int]], Method]  # from the numbers of a batch's questions
NOTHING_DROPPED = "nothing dropped"  # the name of the model itself in frames
ANSWER_COLUMNS = [*"method question draw kind answer reply right log_probability average_tokens".split()]


@torch.no_grad()
def accuracy(
    loaded: Loaded,
    questions: Questions,
    methods: Mapping[Hashable, Method | MethodForBatch | None],
    batch_size: int = 25,
    max_new_tokens: int = 8,
    draws: int = 1,
) -> pd.DataFrame:
    """The model's answers to every question under every method.

    What a method with a seed draws belongs to its seed, the question's words and its pictures
    (`analysis.scenes.question_seeds`): the same in any batch, order and set of questions.

    Args:
        loaded: Model and processor.
        questions: Pairs (scene, question). Any objects do, with `scene.image` as `Loaded.inputs` takes it, and strings
            `question.text`, `question.answer`, `question.kind`.
        methods: Methods by the name they get in the frame. None stands for the model itself. A function is called with
            the numbers of a batch's questions and returns the method for that batch (`analysis.method_from_column`
            makes one).
        batch_size: The number of questions in a batch.
        max_new_tokens: The length of the longest reply, in tokens.
        draws: The number of times that every question is asked under a method with a seed, each time with the next
            seed; methods without a seed ask once.

    Returns:
        One row per (method, question, draw): method, question (its index), draw (its number, from 0), kind, answer,
        reply, right (bool), log_probability (of the right answer's tokens after the prompt, in nats), average_tokens
        (vision tokens of the question's prompt, true layer average).

    Raises:
        ValueError: There is no question or no method, something else is given for one, a number is out of range, or a
            method has a seed for each row.
    """
    check_loaded(loaded)
    questions = asked(questions, "text", "answer", "kind")
    methods = checked_methods(methods, functions=True)
    batch_size, draws = whole_number("batch_size", batch_size, 1), whole_number("draws", draws, 1)
    max_new_tokens = whole_number("max_new_tokens", max_new_tokens, 1)
    runs = [(key, draw) for key, each in methods.items() for draw in range(draws if has_seed(each) else 1)]
    rows = []
    with progress_bar(total=len(questions) * len(runs), desc="questions", unit="q") as progress:
        for start in range(0, len(questions), batch_size):
            batch = questions[start : start + batch_size]
            inputs = prompts(loaded, batch)
            wanted = [loaded.answer_ids(question.text, question.answer) for _, question in batch]
            for name, draw in runs:
                method = _for_batch(methods[name], range(start, start + len(batch)), batch, draw)
                answers = _answers(loaded, inputs, batch, wanted, method, max_new_tokens)
                rows += [(name, start + i, draw, *answer) for i, answer in enumerate(answers)]
                progress.update(len(batch))
    return pd.DataFrame(rows, columns=ANSWER_COLUMNS)


def accuracy_over_budgets(
    loaded: Loaded,
    questions: Questions,
    makers: Mapping[str, Callable[[Schedule], Method]],
    budgets: Sequence[float | int] | float | int,
    layers: tuple[int, ...] | None = None,
    **options: int,
) -> pd.DataFrame:
    """The frame of `accuracy` for every method at every budget, and for the model itself as "nothing dropped".

    Args:
        loaded: Model and processor.
        questions: Pairs as for `accuracy`, whose prompts have the same number of vision tokens.
        makers: Functions from a schedule to a method (a method's class, say), by the name it gets in the frame.
        budgets: True layer averages of vision tokens.
        layers: The layers at which all methods drop; None for those of `V2Drop.drop_layers`.
        **options: Further arguments of `accuracy`.

    Returns:
        The columns of `accuracy`, and budget.

    Raises:
        ValueError: A budget cannot be reached with these layers, a maker is none, or as for `accuracy`.
    """
    check_loaded(loaded)
    makers, budgets, questions = checked_makers(makers), numbers("budgets", budgets, 0), asked(questions)
    if NOTHING_DROPPED in makers:
        raise ValueError(f"makers must not hold {NOTHING_DROPPED!r}, which is the model itself; give it another name.")
    n_tokens = tokens_of_every_prompt(loaded, questions)
    layers = V2Drop.drop_layers(loaded.n_layers) if layers is None else layers
    methods: dict[tuple[str, float], Method | None] = {(NOTHING_DROPPED, n_tokens): None}
    for budget in budgets:
        schedule = Schedule.for_average(budget, layers, n_tokens, loaded.n_layers)
        methods |= {(name, budget): make(schedule) for name, make in makers.items()}
    frame = accuracy(loaded, questions, methods, **options)
    frame.insert(1, "budget", [budget for _, budget in frame.method])
    return frame.assign(method=[name for name, _ in frame.method])


def summarise_accuracy(answers: pd.DataFrame, by: Sequence[str] = ("method",), value: str = "right") -> pd.DataFrame:
    """Mean over questions in each group, with its interval (`mean_by_group`); a question's draws are averaged before.

    Args:
        answers: The frame of `accuracy`, with one row per question and draw in each group.
        by: The columns that tell groups apart.
        value: The column that is averaged, True and False (right) or numbers (log_probability).

    Returns:
        One row per group: `by`, mean, low, high (NaN for a single question, and for numbers that are all equal), n
        (questions), and sd_questions, sd_draws, draws of `analysis.statistics.draws.standard_deviations`.

    Raises:
        ValueError: The frame is empty or lacks a column, a number is missing, or a group has a draw of a question
            twice, as where two methods or two sets of questions are not told apart by `by`.
    """
    by = names("by", by, besides=["question", value, *OF_DRAWS, *MEANS])
    answers = checked_answers(answers, by, {name("value", value): "truth or number"})
    pooled = pooled_draws(answers, by, value)
    means = mean_by_group(pooled, by, value, ["question"], shares=answers[value].dtype == bool)
    return means.join(standard_deviations(pooled, by, value))


def _for_batch(
    method: Method | MethodForBatch | None, numbers: Sequence[int], questions: Questions, draw: int
) -> Method | None:
    if method is None or isinstance(method, Method):
        return method and with_question_seeds(method, questions, draw)
    made = method(numbers)
    if not isinstance(made, Method):
        raise ValueError(f"a function in methods must return a method for its batch; got {made!r}.")
    return made


def _answers(
    loaded: Loaded,
    inputs: Mapping,
    batch: Questions,
    wanted: Sequence[Sequence[int]],
    method: Method | None,
    max_new_tokens: int,
) -> Iterator[tuple]:
    """The columns of ANSWER_COLUMNS from kind on, for every question of a batch; `wanted` are the answers' ids."""
    with loaded.dropping(method, inputs) if method else nullcontext() as trace:
        replies = _replies(loaded, inputs, wanted, max_new_tokens)
    averages = average_by_row(loaded, inputs, trace)
    for (_, question), (reply, log_p), average in zip(batch, replies, averages, strict=True):
        yield question.kind, question.answer, reply, is_right(reply, question.answer), log_p, average


def _replies(
    loaded: Loaded, inputs: Mapping, wanted: Sequence[Sequence[int]], max_new_tokens: int
) -> list[tuple[str, float]]:
    """The greedy reply to every question of a batch, and the log probability of the right answer."""
    out = greedy(loaded, inputs, max_new_tokens)
    replies = loaded.processor.batch_decode(out.sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    if max(map(len, wanted)) > 1:  # after a wrong first token, logits say nothing about the rest of the right answer
        likelihoods = answer_likelihoods(loaded, inputs, wanted)
    else:
        likelihoods = likelihoods_under(out.logits, wanted)
    return [(reply, each.log_probability) for reply, each in zip(replies, likelihoods, strict=True)]
