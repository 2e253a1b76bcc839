"""What is asked of decoders of different depth, with pictures and with texts: one drop at each of six depths."""

from __future__ import annotations

from itertools import product

import pandas as pd

from analysis.answers.criterion_studies import one_drop
from analysis.comparison.answer_keys import Key, Runs, nothing_dropped
from analysis.criteria.dropping_by_table import method_from_column
from analysis.criteria.scores import CRITERIA, scored
from analysis.models.loaded import Loaded
from analysis.residual_stream.measured_tokens import layers_at
from analysis.scenes.questions import Questions
from analysis.subjects import DEEP
from v2drop import Schedule, Uniform

MILD, HARSH = 1 / 2, 1 / 4  # shares of the tokens that are left behind the drop
DRAWS = 4  # of random dropping: questions differ more than draws
HARSHLY = ("variation_l2", "variation_cosine", "attention_last", "token_norm")
FROM_THE_START = ("variation_l2", "variation_cosine", "attention_last")
SINKS_KEPT = "{}, sinks kept"


def depth_runs(loaded: Loaded, questions: Questions, n_tokens: int | None) -> Runs:
    """Every criterion, random dropping and even spacing to half of the tokens, and some of them to a quarter."""
    layers = layers_at(loaded.n_layers, DEEP)
    table = scored(loaded, questions, layers)
    mildly = [name for name in CRITERIA if name != "random"]
    return _drops(table, mildly, layers, MILD, n_tokens) | _drops(table, list(HARSHLY), layers, HARSH, n_tokens)


def start_runs(loaded: Loaded, questions: Questions, n_tokens: int | None) -> Runs:
    """Criteria with the start token among the candidates, sinks protected or not, to half of the tokens."""
    layers = layers_at(loaded.n_layers, DEEP)
    table = scored(loaded, questions, layers)
    runs = _drops(table, list(FROM_THE_START), layers, MILD, n_tokens)
    for layer, name in product((before + 1 for before in layers), FROM_THE_START):
        method = method_from_column(table, name, Schedule({layer: MILD}), protect="sinks")
        runs[Key(SINKS_KEPT.format(name), MILD, str(layer))] = method
    return runs


def _drops(table: pd.DataFrame, columns: list[str], layers: list[int], left: float, n_tokens: int | None) -> Runs:
    """A drop before each layer behind `layers`, by every column, at random, and to evenly spaced tokens."""
    runs = nothing_dropped(1.0 if n_tokens is None else n_tokens)
    for layer in (before + 1 for before in layers):
        runs |= one_drop(table, columns, layer, left)
        runs[Key("uniform", left, str(layer))] = Uniform(Schedule({layer: left}))
    return runs
