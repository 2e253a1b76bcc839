"""What is asked of a text model: one drop to half of a text's tokens, at many depths, by every criterion."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparison.answer_keys import Key, Runs, nothing_dropped
from analysis.criteria.scores import CRITERIA, scored
from analysis.models.loaded import Loaded
from analysis.residual_stream.measured_tokens import layers_at
from analysis.scenes.questions import Questions
from analysis.studies.criterion_studies import one_drop
from analysis.theorem.statistics.sinks import is_sink, norm_ratio
from v2drop import Schedule, Uniform

LEFT = 1 / 2  # of a text's tokens, whose number varies
DEPTHS = (1 / 10, 1 / 5, 1 / 3, 1 / 2, 2 / 3, 5 / 6)
VARIATIONS = ("variation_l2", "variation_l1", "variation_cosine")
SINKS_KEPT = "{}, sinks kept"


def text_runs(loaded: Loaded, questions: Questions, _: int | None) -> Runs:
    """Every criterion, random dropping and even spacing, at six depths; variation that keeps sinks, too."""
    layers = layers_at(loaded.n_layers, DEPTHS)
    table = with_sinks_kept(scored(loaded, questions, layers), VARIATIONS)
    kept = [SINKS_KEPT.format(name) for name in VARIATIONS]
    columns = [*(name for name in CRITERIA if name != "random"), *kept]
    spaced = {before + 1: Uniform(Schedule({before + 1: LEFT})) for before in layers}
    return _drops(table, columns, layers) | {Key("uniform", LEFT, str(layer)): spaced[layer] for layer in spaced}


def start_runs(loaded: Loaded, questions: Questions, _: int | None) -> Runs:
    """Variation and attention with the start token among the candidates, sinks kept or not, and random dropping."""
    layers = layers_at(loaded.n_layers, DEPTHS)
    table = with_sinks_kept(scored(loaded, questions, layers), VARIATIONS)
    columns = [*VARIATIONS, *(SINKS_KEPT.format(name) for name in VARIATIONS), "attention_last"]
    return _drops(table, columns, layers)


def _drops(table: pd.DataFrame, columns: list[str], layers: list[int]) -> Runs:
    runs = nothing_dropped(1.0)
    for before in layers:
        runs |= one_drop(table, columns, before + 1, LEFT)
    return runs


def with_sinks_kept(table: pd.DataFrame, criteria: tuple[str, ...]) -> pd.DataFrame:
    """The table with another column for each criterion, in which sinks (`analysis.sink_tokens`) score above all others.

    Args:
        table: The frame of `analysis.scored`.
        criteria: Columns of scores.
    """
    sinks, within = is_sink(table.assign(norm_ratio=norm_ratio(table))), [table["sample"], table.layer]
    above = {name: 1 + 2 * table[name].abs().groupby(within).transform("max") for name in criteria}
    return table.assign(**{SINKS_KEPT.format(name): np.where(sinks, above[name], table[name]) for name in criteria})
