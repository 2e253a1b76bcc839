"""`Trace`: the tokens that the latest prompt kept, with scores and counts.

Tensors get their final form when they are read, so a trace that is not read costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from v2drop.arguments import Named
from v2drop.engine.contract import Selection
from v2drop.scoring.selection import padded_columns
from v2drop.types import Columns, Flags, Indices, Scores, Valid


@dataclass(frozen=True)
class DropRecord:
    """One drop: candidates, scores and survivors; rows are padded at the end.

    Attributes:
        position: position of each candidate in the original sequence.
        valid: False in padding.
        score: score of each candidate; any number in padding.
        selection: the candidates that survive.
        protected: position of every column's token that was protected, and so no candidate; -1 for all others.
    """

    position: Indices
    valid: Valid
    score: Scores
    selection: Selection
    protected: Columns


@dataclass
class Trace:
    """The tokens that the latest prompt (prefill) inside the `with` kept; generation from its cache does not change it.

    Attributes:
        lengths: sequence length at which each decoder layer ran in the prefill (of the longest row of a batch).
        vision_tokens: number of vision tokens on which each decoder layer ran, `[layer][row]`.
        prompt_tokens: number of vision tokens that could be dropped, per row.
    """

    lengths: list[int] = field(default_factory=list)
    vision_tokens: list[list[int]] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    _drops: dict[int, DropRecord] = field(default_factory=dict, repr=False)
    _columns: tuple[Flags, Flags] | None = field(default=None, repr=False)

    @property
    def kept(self) -> dict[int, Int[Tensor, "batch left"]]:
        """Positions in the original sequence of the vision tokens left, by drop layer; ascending, -1 in padding.

        If a method merges or reorders tokens, positions are in the order of the shortened sequence. A merged token has
        the position of the token that its method names for it, or -1 (`Selection.order`). Protected tokens are there
        too; in a method that merges or reorders, behind the others.
        """
        return self._by_layer(_kept_positions)

    @property
    def candidates(self) -> dict[int, Indices]:
        """Positions in the original sequence of the vision tokens scored, by drop layer; -1 in padding."""
        return self._by_layer(lambda drop: drop.position.masked_fill(~drop.valid, -1))

    @property
    def scores(self) -> dict[int, Scores]:
        """Scores of `candidates`, by drop layer; higher is kept, NaN in padding."""
        return self._by_layer(lambda drop: drop.score.masked_fill(~drop.valid, torch.nan))

    @property
    def average_tokens(self) -> float:
        """True layer average of vision tokens, mean over the rows that have vision tokens; 0 if none has.

        Raises:
            ValueError: no prompt has run yet.
        """
        rows = self._rows()
        return sum(sum(row) / len(row) for row in rows) / len(rows) if rows else 0.0

    @property
    def final_tokens(self) -> float:
        """Vision tokens on which the last layer ran, mean over the rows that have vision tokens; 0 if none has.

        Raises:
            ValueError: no prompt has run yet.
        """
        rows = self._rows()
        return sum(row[-1] for row in rows) / len(rows) if rows else 0.0

    @property
    def columns(self) -> tuple[Flags, Flags]:
        """Flags of the prompt's columns: vision tokens that may be dropped, and what is no padding.

        Raises:
            ValueError: no prompt has run yet.
        """
        if self._columns is None:
            raise ValueError("the trace is empty: run the model inside the `with` first.")
        return self._columns

    def _by_layer(self, value: Callable[[DropRecord], Tensor]) -> dict[int, Tensor]:
        return Named("drop layer", {layer: value(drop) for layer, drop in self._drops.items()})

    def _rows(self) -> list[list[int]]:
        if not self.vision_tokens:
            raise ValueError("the trace is empty: run the model inside the `with` first.")
        return [row for *row, n in zip(*self.vision_tokens, self.prompt_tokens, strict=True) if n]

    def note_prompt(self, vision: Flags, not_padding: Flags) -> None:
        """Record the columns of a prompt."""
        self._columns = vision, not_padding

    def note_layer(self, length: int, n_left: list[int], n_prompt_tokens: list[int]) -> None:
        """Record a layer of the prefill.

        Args:
            length: number of columns on which the layer runs.
            n_left: number of vision tokens among them, per row.
            n_prompt_tokens: number of vision tokens of the prompt that may be dropped, per row.
        """
        self.prompt_tokens = n_prompt_tokens
        self.lengths.append(length)
        self.vision_tokens.append(n_left)

    def note_drop(self, layer: int, drop: DropRecord) -> None:
        """Record a drop at the input of a layer."""
        self._drops[layer] = drop

    def clear(self) -> None:
        """Forget the last prompt."""
        self.lengths.clear()
        self.vision_tokens.clear()
        self.prompt_tokens = []
        self._drops.clear()
        self._columns = None


def _kept_positions(drop: DropRecord) -> Int[Tensor, "batch left"]:
    selection = drop.selection
    order, valid = padded_columns(selection.keep, max(selection.n_kept))
    if selection.order is not None:
        order, valid = selection.order.clamp(min=0), selection.order >= 0
    kept = torch.where(valid, drop.position.gather(1, order), -1)
    stay, there = padded_columns(drop.protected >= 0, int((drop.protected >= 0).sum(1).max()))
    if not stay.shape[1]:
        return kept
    both = torch.cat([kept, torch.where(there, drop.protected.gather(1, stay), -1)], 1)
    if selection.order is not None:
        return both
    past_all = torch.iinfo(both.dtype).max
    ascending = both.masked_fill(both < 0, past_all).sort(1).values
    return ascending.masked_fill(ascending == past_all, -1)[:, : int((both >= 0).sum(1).max())]
