"""Dropping by any column of a table: the cost of a criterion, whether or not it is implemented as a method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.statistics.frames import checked
from analysis.statistics.token_tables import checked_table
from v2drop import Schedule
from v2drop.engine.contract import Candidates
from v2drop.engine.protection import checked_protect
from v2drop.methods.base import Method
from v2drop.types import Scores

OFF = 0.02  # bfloat16 moves the median token's norm by 0.001, another mosaic by 0.03 and more


@dataclass(frozen=True, eq=False)
class ScoresFromTable(Method):
    """A method that drops by precomputed scores, for one batch of prompts.

    Args:
        schedule: A schedule whose layers all have scores.
        scores: By drop layer, the scores of each row's vision tokens in prompt order, padded with NaN.
        norms: L2 norms of the states that the first drop must meet, padded with NaN: by them, scores of another model
            or of other pictures are found out. None: not looked at.

    Raises:
        ValueError: A layer of the schedule has no scores, or a score is infinite.
    """

    scores: Mapping[int, Float[Tensor, "batch tokens"]] = field(default_factory=dict)
    norms: Float[Tensor, "batch tokens"] | None = None

    def __post_init__(self) -> None:
        """Check that every drop layer has scores."""
        super().__post_init__()
        missing = sorted(set(self.schedule.layers) - set(self.scores))
        if missing:
            raise ValueError(f"scores must hold every layer of the schedule; layers {missing} are missing.")
        infinite = {layer: int(scores.isinf().sum()) for layer, scores in self.scores.items() if scores.isinf().any()}
        if infinite:
            raise ValueError(f"scores must be finite; got so many infinite ones by layer: {infinite}.")

    def score(self, candidates: Candidates) -> Scores:
        """The precomputed scores of the candidates.

        Raises:
            ValueError: A candidate has no score, there are scores of tokens that the prompts do not have, or the scores
                are those of another model or of other pictures.
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
        if candidates.layer == self.schedule.layers[0]:
            self._check_prompts(candidates, scores, index)
        return values

    def _check_prompts(self, candidates: Candidates, scores: Tensor, index: Tensor) -> None:
        """Compare with the prompts what the table says of them, while all their tokens are there."""
        given, there = (~scores.isnan()).sum(1), scores.new_tensor(candidates.n_prompt_tokens, dtype=torch.long)
        if ((given != there) & (there > 0)).any():  # a row of text may have scores: it drops nothing
            raise ValueError(
                f"there must be a score for every token of the prompts and no others; got {given.tolist()} for rows of "
                f"{there.tolist()} tokens. Are they the scores of other questions?"
            )
        if self.norms is None:
            return
        norms = self.norms.to(candidates.hidden.device).gather(1, index)
        off = (candidates.hidden.float().norm(dim=-1) / norms - 1).abs()[candidates.valid & ~norms.isnan()]
        if off.numel() and off.median() > OFF:
            raise ValueError(
                "the table must hold the scores of these questions by this model; its token_norm is off by "
                f"{100 * off.median():.1f} % (median over tokens). Score the questions that are asked, in their order."
            )


def method_from_column(
    table: pd.DataFrame, criterion: str, schedule: Schedule, protect: Collection[int] | Literal["sinks"] = ()
) -> Callable[[Sequence[int]], ScoresFromTable]:
    """A method for `analysis.accuracy` that drops by a column: the scores at drop layer l are those behind layer l - 1.

    All drops use the scores of the run without drops. A later drop does not see how an earlier one changes them.

    Args:
        table: The frame of `analysis.scored` for the questions that will be asked. By its column token_norm, if it is
            there, scores of another model or of other pictures are refused when the first drop meets them.
        criterion: The column that holds the scores; higher is kept.
        schedule: A schedule whose first drop is at layer 1 or later.
        protect: Tokens that stay whatever their scores (`v2drop.Method`).

    Returns:
        A function from the numbers of a batch's questions to the method for that batch.

    Raises:
        ValueError: A column, question or layer is missing, a score is NaN or infinite, a token occurs twice, or
            `schedule` or `protect` is none.
    """
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule must be a Schedule, such as Schedule({{1: 48}}); got {schedule!r}.")
    protect = checked_protect(protect)
    has_norms = isinstance(table, pd.DataFrame) and "token_norm" in table
    columns = {criterion: "number or NaN", "vision_index": "counted"}
    table = checked_table(table, columns | ({"token_norm": "number or NaN"} if has_norms else {}))
    index = {"index": ["layer", "sample"], "columns": "vision_index"}
    checked(table, "table", {}, ["layer", "sample", "vision_index"])
    wide = table.pivot(**index, values=criterion)
    norms = table.pivot(**index, values="token_norm") if has_norms else None
    missing = {layer for layer in schedule.layers if layer - 1 not in wide.index.levels[0]}
    nan = table.loc[table.layer.isin([layer - 1 for layer in schedule.layers]), criterion].isna().sum()
    if missing or nan:
        raise ValueError(
            f"the table must have numbers for {criterion} at the layer before every drop; got {nan} NaN, and "
            f"nothing for drops at {sorted(missing)}."
        )

    known = set.intersection(*(set(wide.loc[layer - 1].index) for layer in schedule.layers))

    def method(questions: Sequence[int]) -> ScoresFromTable:
        unknown = sorted(set(questions) - known)
        if unknown:
            raise ValueError(f"the table must hold every question asked; {unknown[:5]} are missing.")
        first = schedule.layers[0]
        met = None if norms is None else _rows(norms, first, questions).float()
        scores = {layer: _rows(wide, layer, questions) for layer in schedule.layers}
        return ScoresFromTable(schedule, scores, met, protect=protect)

    return method


def _rows(wide: pd.DataFrame, layer: int, questions: Sequence[int]) -> Tensor:
    """What the table has behind the layer before a drop, for the questions of a batch."""
    return torch.tensor(wide.loc[layer - 1].loc[list(questions)].to_numpy())
