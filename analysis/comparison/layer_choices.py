"""Methods at several choices of drop layers: what a verdict owes to the layers at which tokens are dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.accuracy import NOTHING_DROPPED, MethodForBatch, accuracy
from analysis.comparison.answer_keys import layers_text
from analysis.comparison.arguments import checked_makers, tokens_of_every_prompt
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.scenes.asked import asked
from analysis.scenes.questions import Questions
from analysis.statistics.frames import checked
from analysis.statistics.lists import names, numbers
from v2drop import Method, Schedule, V2Drop
from v2drop.arguments import number, whole_number, whole_numbers

Makers = Mapping[str, Callable[[Schedule], Method | MethodForBatch]]
LATEST = 3 / 4  # of the share of tokens: layers before the first drop may take so much of a budget


def drop_layer_choices(n_layers: int, share: float) -> dict[str, tuple[int, ...]]:
    """Drop layers to compare methods at, all of which reach a true layer average of a share of the tokens.

    - released: those of V2Drop's released code, at the same depths (`V2Drop.drop_layers`).
    - even: at a quarter, half and three quarters of the depth.
    - early: the first three layers from 1 on.
    - late: three layers in a row, as late as the layers before the first drop leave a quarter of the budget.

    Layers before the first drop run on all tokens, so at a small share there are fewer choices. Of equal ones, the
    first is given.

    Args:
        n_layers: The number of decoder layers, 4 or more.
        share: The share of the tokens, more than 1 / n_layers.

    Returns:
        Drop layers by the name of the choice.

    Raises:
        ValueError: An argument is out of range.

    >>> drop_layer_choices(12, 1 / 2)
    {'released': (1, 6, 8), 'even': (3, 6, 9), 'early': (1, 2, 3), 'late': (4, 5, 6)}
    >>> drop_layer_choices(32, 1 / 9)
    {'released': (3, 17, 22), 'early': (1, 2, 3), 'late': (2, 3, 4)}
    """
    n_layers, share = whole_number("n_layers", n_layers, 4), float(number("share", share, 0, 1))
    if share * n_layers <= 1:
        raise ValueError(
            f"share must be more than 1 / {n_layers}, since a drop at layer 1 leaves layer 0 all tokens; got {share}."
        )
    last = max(1, min(int(LATEST * share * n_layers), n_layers - 3))
    choices = {
        "released": V2Drop.drop_layers(n_layers),
        "even": tuple(round(quarter * n_layers / 4) for quarter in (1, 2, 3)),
        "early": (1, 2, 3),
        "late": (last, last + 1, last + 2),
    }
    reached = {name: layers for name, layers in choices.items() if layers[0] < share * n_layers}
    first = {layers: name for name, layers in reversed(reached.items())}
    return {name: layers for name, layers in reached.items() if first[layers] == name}


def accuracy_over_layers(
    loaded: Loaded,
    questions: Questions,
    makers: Makers,
    budgets: Sequence[float | int] | float | int,
    layer_choices: Iterable[Sequence[int]],
    **options: int,
) -> pd.DataFrame:
    """The frame of `accuracy` for every method at every budget and choice of drop layers, and for the model itself.

    `paired_difference(frame[frame.method != "nothing dropped"], "random", ["layers", "budget"])` compares the methods
    at each choice, and `best_and_worst` picks what is said of them.

    Args:
        loaded: Model and processor.
        questions: Pairs as for `accuracy`, whose prompts have the same number of vision tokens.
        makers: Functions from a schedule to a method (a method's class, or `method_from_column` with a table and a
            column), by the name it gets in the frame.
        budgets: True layer averages of vision tokens, one or several.
        layer_choices: The choices of drop layers, each for all methods, such as the values of `drop_layer_choices`.
        **options: Further arguments of `accuracy`.

    Returns:
        The columns of `accuracy`, budget, and layers: the drop layers as a text, "1, 6, 8". The model itself is the
        method "nothing dropped", whose layers are "none".

    Raises:
        ValueError: A budget cannot be reached with a choice of layers, a choice is there twice or is none, a maker is
            none, or as for `accuracy`.
    """
    check_loaded(loaded)
    makers, budgets, questions = checked_makers(makers), numbers("budgets", budgets, 0), asked(questions)
    if NOTHING_DROPPED in makers:
        raise ValueError(f"makers must not hold {NOTHING_DROPPED!r}, which is the model itself; give it another name.")
    choices = _checked_choices(layer_choices, loaded.n_layers)
    n_tokens = tokens_of_every_prompt(loaded, questions)
    methods: dict[tuple, Any] = {(NOTHING_DROPPED, n_tokens, "none"): None}
    for text, layers in choices.items():
        for budget in budgets:
            schedule = Schedule.for_average(budget, layers, n_tokens, loaded.n_layers)
            methods |= {(name, budget, text): make(schedule) for name, make in makers.items()}
    frame = accuracy(loaded, questions, methods, **options)
    for place, column in ((1, "budget"), (2, "layers")):
        frame.insert(place, column, [key[place] for key in frame.method])
    return frame.assign(method=[name for name, _, _ in frame.method])


def best_and_worst(differences: pd.DataFrame, by: Sequence[str] = ("method", "budget")) -> pd.DataFrame:
    """The choices of layers at which each method's mean is largest and smallest.

    A best choice was picked among several by the same questions that its mean and interval come from, so it looks
    better than it would on other questions; a worst one looks worse. A headline gives both, and the number of choices.

    Args:
        differences: The frame of `analysis.paired_difference` with "layers" among its `by`, or of `summarise_accuracy`.
        by: The columns that tell apart what is compared, all beside layers.

    Returns:
        Two rows for each group, in the order in which the frame has them: the columns of `differences`, choice ("best",
        "worst") and n_choices (the number of choices of layers). Of equal means, the first row.

    Raises:
        ValueError: The frame is empty or lacks a column, a mean is missing, or a choice is there twice in a group.
    """
    by = names("by", by, besides=["layers", "mean", "choice", "n_choices"])
    keys = dict.fromkeys([*by, "layers"], "label")
    frame = checked(differences, "differences", keys | {"mean": "number"}, list(keys))
    means = frame.groupby(list(by), sort=False)["mean"]
    picked = np.stack([means.idxmax(), means.idxmin()], axis=1)
    rows = frame.assign(n_choices=means.transform("size")).loc[picked.ravel()].reset_index(drop=True)
    return rows.assign(choice=np.tile(["best", "worst"], len(picked)))


def _checked_choices(layer_choices: Any, n_layers: int) -> dict[str, tuple[int, ...]]:
    """The choices by their texts.

    Raises:
        ValueError: There is none, one twice, or one that is no list of layers of the model.
    """
    is_list = isinstance(layer_choices, Iterable) and not isinstance(layer_choices, (str, Mapping))
    listed = list(layer_choices) if is_list else []
    if not listed or any(not isinstance(layers, Iterable) for layers in listed):  # (1, 6, 8) is one choice, not three
        raise ValueError(
            "layer_choices must be a list of choices, such as [(1, 6, 8), (3, 6, 9)] or "
            f"drop_layer_choices(12, 1 / 2).values(); got {listed or layer_choices!r}."
        )
    given = [whole_numbers("each of layer_choices", layers, 0, n_layers - 1) for layers in listed]
    if len(set(given)) < len(given):
        raise ValueError(f"layer_choices must be different choices of layers; got {given}.")
    return {layers_text(layers): layers for layers in given}
