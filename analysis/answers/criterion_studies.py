"""What is asked where tokens are dropped by a criterion's column: once, at one layer, to a share of the tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparison.answer_keys import RANDOM_DRAWS, Key, Runs, nothing_dropped
from analysis.criteria.dropping_by_table import method_from_column
from analysis.criteria.jacobian_scores import scored_with_jacobians
from analysis.criteria.scores import CRITERIA, scored
from analysis.models.loaded import Loaded
from analysis.position.bias_cost import with_planted_bias
from analysis.residual_stream.measured_tokens import layers_at
from analysis.scenes.question_seeds import question_seeds
from analysis.scenes.questions import Questions
from v2drop import Random, Schedule

LEFT = 1 / 3  # of the tokens, behind the drop
DROPS = ((1 / 12, LEFT), (1 / 12, 1 / 9), (1 / 3, LEFT), (7 / 12, LEFT))  # depth of the drop, share that is left
JACOBIAN_DEPTHS = (1 / 12, 1 / 3, 7 / 12, 5 / 6)
PLANTED_INTO = ("random", "variation_cosine", "attention_text")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def criterion_runs(loaded: Loaded, questions: Questions, n_tokens: int) -> Runs:
    """Every criterion's column and random dropping, for DROPS."""
    drops = [(*layers_at(loaded.n_layers, [depth]), round(share * n_tokens)) for depth, share in DROPS]
    table = scored(loaded, questions, sorted({before for before, _ in drops}))
    columns = [name for name in CRITERIA if name != "random" and table[name].notna().all()]
    return nothing_dropped(n_tokens) | {
        key: method for before, left in drops for key, method in one_drop(table, columns, before + 1, left).items()
    }


def jacobian_runs(loaded: Loaded, questions: Questions, n_tokens: int) -> Runs:
    """Variation, the norm of the Jacobian, their product, and random dropping, at four depths."""
    before, left = layers_at(loaded.n_layers, JACOBIAN_DEPTHS), round(LEFT * n_tokens)
    table = scored_with_jacobians(loaded, questions, before)
    columns = ["variation_l2", "operator_norm", "predicted_impact"]
    return nothing_dropped(n_tokens) | {
        key: method for layer in before for key, method in one_drop(table, columns, layer + 1, left).items()
    }


def planted_runs(loaded: Loaded, questions: Questions, n_tokens: int) -> Runs:
    """Three criteria with an end bias planted in five strengths, dropped by at layer 1; random ranks in 16 draws."""
    table, drop, runs = scored(loaded, questions, [0]), Schedule({1: round(LEFT * n_tokens)}), nothing_dropped(n_tokens)
    for base in PLANTED_INTO:
        for draw in range(RANDOM_DRAWS if base == "random" else 1):
            drawn = table if base != "random" else _random_scores(table, questions, draw)
            planted = with_planted_bias(drawn, base, STRENGTHS)
            for name in (f"{base}+{strength:g}" for strength in STRENGTHS):
                runs[Key(name, drop.left[1], "1", draw)] = method_from_column(planted, name, drop)
    return runs


def one_drop(table: pd.DataFrame, columns: list[str], layer: int, left: float | int) -> Runs:
    """A drop at one layer by every column, and at random; `left` as a schedule has it."""
    schedule = Schedule({layer: left})
    runs: Runs = {Key(name, left, str(layer)): method_from_column(table, name, schedule) for name in columns}
    return runs | {Key("random", left, str(layer)): Random(schedule)}


def _random_scores(table: pd.DataFrame, questions: Questions, draw: int) -> pd.DataFrame:
    """The table with new uniform numbers, each question's own whatever else is asked."""
    rngs = [np.random.default_rng([seed, draw]) for seed in question_seeds(0, questions)]
    drawn = [rngs[sample].random(len(rows)) for sample, rows in table.groupby("sample", sort=True)]
    ordered = table.sort_values(["sample", "vision_index"])
    return ordered.assign(random=np.concatenate(drawn))
