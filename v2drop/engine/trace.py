"""What a run kept. Tensors are put in their final form when asked for, so an unread trace costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from v2drop.engine.contract import Selection
from v2drop.scoring.selection import padded_columns
from v2drop.types import Indices, Scores, Valid


@dataclass(frozen=True)
class DropRecord:
    """One drop: who was there, how they scored, who stayed. Rows are padded at the end where `real` is False.

    Attributes:
        position: of every candidate in the original sequence.
        real: False in padding.
        score: what the method gave.
        choice: who stayed.
    """

    position: Indices
    valid: Valid
    score: Scores
    choice: Selection


@dataclass
class Trace:
    """What the latest prompt (prefill) that ran inside the `with` kept; generation from its cache leaves it as it is.

    Attributes:
        lengths: sequence length every decoder layer ran at in the prefill (of the longest row of a batch).
        vision_tokens: vision tokens every decoder layer ran on, `[layer][row]`.
        prompt_tokens: vision tokens that could be dropped, per row.
    """

    lengths: list[int] = field(default_factory=list)
    vision_tokens: list[list[int]] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    _drops: dict[int, DropRecord] = field(default_factory=dict, repr=False)

    @property
    def kept(self) -> dict[int, Int[Tensor, "batch left"]]:
        """Per drop layer: positions in the original sequence of the vision tokens left, ascending; -1 pads.

        A token that was made of several goes by the position of the one that its method names, in the order in which
        the model reads them, and by -1 if there is none.
        """
        return {layer: _kept(drop) for layer, drop in self._drops.items()}

    @property
    def candidates(self) -> dict[int, Indices]:
        """Per drop layer: positions in the original sequence of the vision tokens scored, in reading order; -1 pads."""
        return {layer: drop.position.masked_fill(~drop.valid, -1) for layer, drop in self._drops.items()}

    @property
    def scores(self) -> dict[int, Scores]:
        """Per drop layer: the scores of `candidates`, higher is kept; NaN pads."""
        return {layer: drop.score.masked_fill(~drop.valid, torch.nan) for layer, drop in self._drops.items()}

    @property
    def average_tokens(self) -> float:
        """The true layer average of vision tokens, over the rows that have any (0 if none has).

        Raises:
            ValueError: nothing has run yet.
        """
        rows = self._rows()
        return sum(sum(row) / len(row) for row in rows) / len(rows) if rows else 0.0

    @property
    def final_tokens(self) -> float:
        """Vision tokens that the last layer ran on, mean over the rows that have any (0 if none has).

        Raises:
            ValueError: nothing has run yet.
        """
        rows = self._rows()
        return sum(row[-1] for row in rows) / len(rows) if rows else 0.0

    def _rows(self) -> list[list[int]]:
        if not self.vision_tokens:
            raise ValueError("the trace is empty: run the model inside the `with` first.")
        return [row for *row, n in zip(*self.vision_tokens, self.prompt_tokens, strict=True) if n]

    def note_layer(self, length: int, left: list[int], of: list[int]) -> None:
        """Note what a layer ran on: columns, and vision tokens per row, of how many."""
        self.prompt_tokens = of
        self.lengths.append(length)
        self.vision_tokens.append(left)

    def note_drop(self, layer: int, drop: DropRecord) -> None:
        """Note what a drop did."""
        self._drops[layer] = drop

    def clear(self) -> None:
        """Forget the last prompt."""
        self.lengths.clear()
        self.vision_tokens.clear()
        self.prompt_tokens = []
        self._drops.clear()


def _kept(drop: DropRecord) -> Int[Tensor, "batch left"]:
    choice = drop.choice
    order, there = padded_columns(choice.keep, max(choice.n_kept))
    if choice.order is not None:
        order, there = choice.order.clamp(min=0), choice.order >= 0
    return torch.where(there, drop.position.gather(1, order), -1)
