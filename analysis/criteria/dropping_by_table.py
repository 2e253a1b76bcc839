"""Dropping by any column of a table: what would a criterion cost, whether or not it is a method yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.statistics.token_tables import check_table
from v2drop import Schedule
from v2drop.candidates import Candidates
from v2drop.methods.base import Method
from v2drop.types import Scores


@dataclass(frozen=True, eq=False)
class ScoresFromTable(Method):
    """Drop by scores that were made beforehand, for one batch of prompts.

    Args:
        schedule: any layers that there are scores for.
        scores: by drop layer, for the vision tokens of each row in prompt order; NaN behind a shorter row's last.

    Raises:
        ValueError: a layer of the schedule has no scores.
    """

    scores: Mapping[int, Float[Tensor, "batch tokens"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the layers too."""
        super().__post_init__()
        missing = sorted(set(self.schedule.layers) - set(self.scores))
        if missing:
            raise ValueError(f"scores must hold every layer of the schedule; layers {missing} are missing.")

    def score(self, candidates: Candidates) -> Scores:
        """The scores of the tokens that are still there.

        Raises:
            ValueError: some token has none.
        """
        scores = self.scores[candidates.layer].to(candidates.hidden.device)
        here = candidates.rank.masked_fill(~candidates.real, 0)
        most = int(here.max()) + 1
        found = scores.gather(1, here) if most <= scores.shape[1] else scores.new_full(here.shape, torch.nan)
        if found[candidates.real].isnan().any():
            raise ValueError(
                f"there must be a score for every token of the prompts; got {scores.shape[1]} a row, some of them NaN "
                f"or too few, for tokens up to rank {most - 1} at layer {candidates.layer}."
            )
        return found


def method_from_column(
    table: pd.DataFrame, criterion: str, schedule: Schedule
) -> Callable[[Sequence[int]], ScoresFromTable]:
    """A method for `analysis.accuracy`: at every drop layer l, rank by a column of layer l - 1.

    A later drop goes by what the run without drops says of the tokens, not by what they would score by then.

    Args:
        table: of `analysis.scored`, for the questions that will be asked.
        criterion: column; higher is kept.
        schedule: from layer 1 on.

    Returns:
        From the numbers of a batch's questions to the method.

    Raises:
        ValueError: a column, question or layer is missing, a score is NaN, or a token is there twice.
    """
    check_table(table, [criterion, "rank"])
    wide = table.pivot(index=["layer", "sample"], columns="rank", values=criterion)
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
        found = {layer: wide.loc[layer - 1].loc[list(questions)].to_numpy() for layer in schedule.layers}
        return ScoresFromTable(schedule, {layer: torch.tensor(scores) for layer, scores in found.items()})

    return method
