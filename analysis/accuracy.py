"""Answers right, per method and budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from tqdm import tqdm

from analysis.loading import Loaded
from analysis.mosaic import Question, Scene
from v2drop import Method, Schedule

Asked = list[tuple[Scene, Question]]
NUMBERS = "zero one two three four five six seven eight nine".split()


def paper_layers(n_layers: int) -> tuple[int, ...]:
    """The paper's shallow, middle and deep layer (3, 17 and 22 of 32), at the same depths of another model.

    >>> paper_layers(32), paper_layers(12)
    ((3, 17, 22), (1, 6, 8))
    """
    return tuple(round(layer / 32 * n_layers) for layer in (3, 17, 22))


def is_right(reply: str, answer: str) -> bool:
    """Whether the answer's words stand together in the reply, whatever the case, punctuation and way to write numbers.

    >>> is_right("It is in the Top Left.", "top-left"), is_right("17", "7"), is_right("There are 4.", "four")
    (True, False, True)
    """
    said, wanted = (f" {' '.join(map(_word, re.findall('[a-z0-9]+', text.lower())))} " for text in (reply, answer))
    return wanted in said


def _word(word: str) -> str:
    return str(NUMBERS.index(word)) if word in NUMBERS else word


@torch.no_grad()
def accuracy(
    loaded: Loaded,
    asked: Asked,
    methods: Mapping[Hashable, Method | None],
    batch_size: int = 25,
    max_new_tokens: int = 8,
) -> pd.DataFrame:
    """Ask every question under every method.

    Args:
        loaded: model and processor.
        asked: scenes with a question each.
        methods: by the name they get in the frame; None is the model itself. One with a seed is given a new one for
            every batch, so that a baseline is not one draw asked again and again.
        batch_size: questions at a time.
        max_new_tokens: longest reply, in tokens.

    Returns:
        One row per (method, question): method, question (its index), kind, answer, reply, right (bool),
        average_tokens (vision tokens, true layer average).
    """
    batches = [range(i, min(i + batch_size, len(asked))) for i in range(0, len(asked), batch_size)]
    rows = []
    with tqdm(total=len(asked) * len(methods), desc="questions", unit="q") as progress:
        for number, batch in enumerate(batches):
            inputs = loaded.inputs([asked[i][0].image for i in batch], [asked[i][1].text for i in batch])
            whole = float(np.mean([len(row) for row in loaded.vision_positions(inputs)]))
            for name, method in methods.items():
                with _redrawn(method, number)(loaded.model) if method else nullcontext() as trace:
                    replies = _replies(loaded, inputs, max_new_tokens)
                average = trace.average_tokens if trace else whole
                for i, reply in zip(batch, replies, strict=True):
                    rows.append((name, i, asked[i][1].kind, asked[i][1].answer, reply, average))
                progress.update(len(batch))
    frame = pd.DataFrame(rows, columns=["method", "question", "kind", "answer", "reply", "average_tokens"])
    frame.insert(5, "right", [is_right(r, a) for r, a in zip(frame.reply, frame.answer, strict=True)])
    return frame


def over_budgets(
    loaded: Loaded,
    asked: Asked,
    makers: Mapping[str, Callable[[Schedule], Method]],
    budgets: Sequence[float],
    layers: tuple[int, ...] | None = None,
    **options: int,
) -> pd.DataFrame:
    """`accuracy` of every method at every budget, and of the model itself under the name "nothing dropped".

    Args:
        loaded: model and processor.
        asked: scenes with a question each; their prompts must have the same number of vision tokens.
        makers: from a schedule to a method, by the name it gets in the frame.
        budgets: true layer averages of vision tokens.
        layers: where all methods drop; `paper_layers` by default.
        **options: of `accuracy`.

    Raises:
        ValueError: a budget cannot be reached with these layers.
    """
    first = loaded.vision_positions(loaded.inputs([asked[0][0].image], [asked[0][1].text]))[0]
    layers = layers or paper_layers(loaded.n_layers)
    methods: dict[tuple[str, float], Method | None] = {("nothing dropped", len(first)): None}
    for budget in budgets:
        schedule = Schedule.for_average(budget, layers, len(first), loaded.n_layers)
        methods |= {(name, budget): make(schedule) for name, make in makers.items()}
    frame = accuracy(loaded, asked, methods, **options)
    frame.insert(1, "budget", [budget for _, budget in frame.method])
    return frame.assign(method=[name for name, _ in frame.method])


def _redrawn(method: Method, number: int) -> Method:
    return replace(method, seed=method.seed + number) if hasattr(method, "seed") else method


def _replies(loaded: Loaded, inputs: Mapping, max_new_tokens: int) -> list[str]:
    out = loaded.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    new = out[:, inputs["input_ids"].shape[1] :]
    return loaded.processor.batch_decode(new, skip_special_tokens=True)


def interval(values: np.ndarray, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval (percentile, 2000 resamples) of the mean; a single point where all values are equal.

    Raises:
        ValueError: there are no values, or some are NaN.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0 or np.isnan(values).any():
        raise ValueError(
            f"values must be numbers, at least one; got {values.size}, {np.isnan(values).sum()} of them NaN."
        )
    if (values == values[0]).all():
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", confidence_level=level, rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def summarise(frame: pd.DataFrame, by: list[str], value: str = "right") -> pd.DataFrame:
    """Mean of `value` in each group, with its bootstrap interval over the rows: columns `by`, mean, low, high, n."""
    rows = [
        (
            *(key if isinstance(key, tuple) else (key,)),
            group[value].mean(),
            *interval(group[value].to_numpy()),
            len(group),
        )
        for key, group in frame.groupby(by, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def against(frame: pd.DataFrame, baseline: str, by: list[str]) -> pd.DataFrame:
    """Accuracy minus the baseline method's on the same questions, with paired bootstrap intervals.

    Args:
        frame: of `accuracy`, possibly of several budgets.
        baseline: a method in it.
        by: what identifies a comparison beside the method: ["budget"], say.

    Raises:
        ValueError: `baseline` is not in the frame.
    """
    if baseline not in set(frame.method):
        raise ValueError(f"baseline must be one of {', '.join(frame.method.unique())}; got {baseline!r}.")
    keys = [*by, "question"]
    wide = frame.pivot(index=keys, columns="method", values="right").astype(float)
    gain = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
    long = gain.reset_index().melt(id_vars=keys, var_name="method", value_name="difference").dropna()
    return summarise(long, ["method", *by], "difference")
