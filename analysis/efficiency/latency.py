"""The time of a prefill under a method, relative to that of the model itself."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from contextlib import nullcontext

import pandas as pd
import torch

from analysis.comparison.arguments import checked_methods
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.progress import progress_bar
from analysis.scenes.asked import asked, prompts
from analysis.scenes.questions import Questions
from v2drop import Method
from v2drop.arguments import whole_number


@torch.no_grad()
def relative_time(
    loaded: Loaded, questions: Questions, methods: Mapping[Hashable, Method], repeats: int = 5
) -> pd.DataFrame:
    """The time of one prefill under each method, vision tower included / that of the model itself in the same round.

    Methods take turns within a round, so that other work of the machine slows all of them down. The first round is not
    counted.

    Args:
        loaded: Model and processor.
        questions: Scenes with a question each, which make one batch.
        methods: Methods by the name they get in the frame.
        repeats: The number of rounds.

    Returns:
        One row per (method, repeat): method, repeat, ratio.

    Raises:
        ValueError: `loaded` is no model with its processor, there is no question or no method, something else is given
            for one, or `repeats` is below 1.
    """
    check_loaded(loaded)
    questions, methods = asked(questions), checked_methods(methods)
    repeats = whole_number("repeats", repeats, 1)
    inputs = prompts(loaded, questions)
    rows = []
    for repeat in progress_bar(range(-1, repeats), desc="rounds", unit="round"):
        own = _seconds(loaded, inputs, None)
        rows += [(name, repeat, _seconds(loaded, inputs, method) / own) for name, method in methods.items()]
    frame = pd.DataFrame(rows, columns=["method", "repeat", "ratio"])
    return frame[frame.repeat >= 0].reset_index(drop=True)


def _seconds(loaded: Loaded, inputs: Mapping, method: Method | None) -> float:
    with loaded.dropping(method, inputs) if method else nullcontext():
        _synchronise(loaded)
        start = time.perf_counter()
        loaded.model(**inputs)
        _synchronise(loaded)
        return time.perf_counter() - start


def _synchronise(loaded: Loaded) -> None:
    if loaded.model.device.type == "cuda":
        torch.cuda.synchronize()
