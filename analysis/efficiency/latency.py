"""How long a prefill takes under a method, relative to the model's own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext

import pandas as pd
import torch
from tqdm.auto import tqdm

from analysis.models.loading import Loaded
from analysis.scenes.mosaic import Questions
from v2drop import Method


@torch.no_grad()
def relative_time(loaded: Loaded, asked: Questions, methods: Mapping[str, Method], repeats: int = 5) -> pd.DataFrame:
    """Time of one prefill, pictures included, relative to the model's own in the same round.

    Methods take turns, so that what else the machine does falls on all of them; the first round is not counted.

    Args:
        loaded: model and processor.
        asked: scenes with a question each, one batch.
        methods: by name.
        repeats: rounds.

    Returns:
        One row per (method, repeat): method, repeat, ratio.
    """
    inputs = loaded.inputs([scene.image for scene, _ in asked], [question.text for _, question in asked])
    rows = []
    for repeat in tqdm(range(-1, repeats), desc="rounds", unit="round"):
        own = _seconds(loaded, inputs, None)
        rows += [(name, repeat, _seconds(loaded, inputs, method) / own) for name, method in methods.items()]
    frame = pd.DataFrame(rows, columns=["method", "repeat", "ratio"])
    return frame[frame.repeat >= 0].reset_index(drop=True)


def _seconds(loaded: Loaded, inputs: Mapping, method: Method | None) -> float:
    with method(loaded.model) if method else nullcontext():
        _synchronise(loaded)
        start = time.perf_counter()
        loaded.model(**inputs)
        _synchronise(loaded)
        return time.perf_counter() - start


def _synchronise(loaded: Loaded) -> None:
    if loaded.model.device.type == "cuda":
        torch.cuda.synchronize()
