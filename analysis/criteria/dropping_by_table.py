"""Dropping by any column of a table: the cost of a criterion, whether or not it is implemented as a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.statistics.token_tables import check_table
from v2drop import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.types import Scores


@dataclass(frozen=True, eq=False)
class ScoresFromTable(Method):
    """A method that drops by precomputed scores, for one batch of prompts.

    Args:
        schedule: A schedule whose layers all have scores.
        scores: By drop layer, the scores of each row's vision tokens in prompt order, padded with NaN.

    Raises:
        ValueError: A layer of the schedule has no scores.
    """

    scores: Mapping[int, Float[Tensor, "batch tokens"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every drop layer has scores."""
        super().__post_init__()
        missing = sorted(set(self.schedule.layers) - set(self.scores))
        if missing:
            raise ValueError(f"scores must hold every layer of the schedule; layers {missing} are missing.")

    def score(self, candidates: Candidates) -> Scores:
        """The precomputed scores of the candidates.

        Raises:
            ValueError: A candidate has no score.
        """
        scores = self.scores[candidates.layer].to(candidates.hidden.device)
        index = candidates.vision_index.masked_fill(~candidates.valid, 0)
        n_needed = int(index.max()) + 1
        values = scores.gather(1, index) if n_needed <= scores.shape[1] else scores.new_full(index.shape, torch.nan)
        if values[candidates.valid].isnan().any():
            raise ValueError(
                f"there must be a score for every token of the prompts; got {scores.shape[1]} a row, some of them NaN "
                f"or too few, for tokens up to vision index {n_needed - 1} at layer {candidates.layer}."
            )
        return values


def method_from_column(
    table: pd.DataFrame, criterion: str, schedule: Schedule
) -> Callable[[Sequence[int]], ScoresFromTable]:
    """A method for `analysis.accuracy` that drops by a column: the scores at drop layer l are those behind layer l - 1.

    All drops use the scores of the run without drops. A later drop does not see how an earlier one changes them.

    Args:
        table: The frame of `analysis.scored` for the questions that will be asked.
        criterion: The column that holds the scores; higher is kept.
        schedule: A schedule whose first drop is at layer 1 or later.

    Returns:
        A function from the numbers of a batch's questions to the method for that batch.

    Raises:
        ValueError: A column, question or layer is missing, a score is NaN, or a token occurs twice.
    """
    check_table(table, [criterion, "vision_index"])
    wide = table.pivot(index=["layer", "sample"], columns="vision_index", values=criterion)
    missing = {layer for layer in schedule.layers if layer - 1 not in wide.index.levels[0]}
    nan = table.loc[table.layer.isin([layer - 1 for layer in schedule.layers]), criterion].isna().sum()
    if missing or nan:
        raise ValueError(
            f"the table must have numbers for {criterion} at the layer before every drop; got {nan} NaN, and "
            f"nothing for drops at {sorted(missing)}."
        )

    def method(questions: Sequence[int]) -> ScoresFromTable:
        unknown = sorted(set(questions) - set(wide.index.levels[1]))
        if unknown:
            raise ValueError(f"the table must hold every question asked; {unknown[:5]} are missing.")
        scores = {layer: wide.loc[layer - 1].loc[list(questions)].to_numpy() for layer in schedule.layers}
        return ScoresFromTable(schedule, {layer: torch.tensor(rows) for layer, rows in scores.items()})

    return method
