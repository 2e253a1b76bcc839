"""The bookkeeping of one prefill: which columns are vision, who is left, and what each layer's cache holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from v2drop import checks
from v2drop.candidates import Candidates, top
from v2drop.layout import Layout, mask_for, take
from v2drop.trace import Drop, Trace
from v2drop.types import Columns, Flags, Scores

if TYPE_CHECKING:
    from v2drop.methods.base import Method


@dataclass
class Prompt:
    """State of one prefill, [batch, length] in the sequence that enters layer 0.

    Attributes:
        vision: columns that may be dropped: vision tokens but for padding and a row's last token, whose output is
            the next token.
        stays: columns that always stay: text, and the last column, which generation reads. Padding does not.
        rank: of a vision token among the prompt's.
        position: in the caller's sequence.
        of: vision tokens per row.
        texts: columns that always stay, per row.
        left: vision tokens still there, per row.
        tail: columns at the end that stay in every row; a cache may be cropped by these.
        entry, entry_length, entry_mask, entry_end: what a drop at layer 0 left of the caller's sequence, how long that
            was, the 2-D mask of what is left, and the position id that comes next.
        segments: what is left from each later drop layer on.
    """

    method: Method
    vision: Flags
    stays: Flags
    rank: Columns
    position: Columns
    of: list[int]
    texts: list[int]
    left: list[int]
    tail: int
    entry: Layout | None = None
    entry_length: int = 0
    entry_mask: Tensor | None = None
    entry_end: Tensor | None = None
    segments: dict[int, Layout] = field(default_factory=dict)

    @classmethod
    def of_call(cls, kwargs: dict, vision: Bool[Tensor, "batch length"], method: Method) -> Prompt | None:
        """The state at the start of a decoder call; None if no row has a vision token to drop."""
        mask = kwargs.get("attention_mask")
        flat = mask is not None and mask.ndim == 2
        present = mask.to(vision.device).bool() if flat else torch.ones_like(vision)
        length = vision.shape[1]
        position = torch.arange(length, device=vision.device).expand_as(vision)
        last = length - 1 - present.flip(1).int().argmax(1, keepdim=True)
        vision = vision & present & (position != last)
        stays = (present & ~vision) | (position == length - 1)
        ends = stays.flip(1).int().cumprod(1).sum(1)
        of, texts, tails = torch.stack([vision.sum(1), stays.sum(1), ends]).tolist()
        if not any(of):
            return None
        return cls(method, vision, stays, vision.cumsum(1) - 1, position, of, texts, list(of), min(tails))

    @property
    def length(self) -> int:
        """Columns that enter layer 0."""
        return self.vision.shape[1]

    @property
    def everything(self) -> Layout:
        """The layout before any drop."""
        return Layout.full(*self.vision.shape, self.vision.device)

    def drop(
        self, layer: int, layout: Layout, states: Tensor, previous: Tensor | None, trace: Trace
    ) -> tuple[Layout, Columns] | None:
        """Score the candidates and choose; the new layout and its columns in the old one, None if all stay.

        Raises:
            ValueError: the schedule's counts grow for this prompt, or the method's scores have a wrong shape.
        """
        here = self.vision.gather(1, layout.index) & layout.real
        columns = torch.sort((~here).int(), dim=1, stable=True).indices[:, : max(self.left)]
        real = here.gather(1, columns)
        left = [self.method.schedule.after(n)[layer] for n in self.of]
        origin = layout.index.gather(1, columns)
        rank, position = self.rank.gather(1, origin), self.position.gather(1, origin)
        hidden, before = (None if x is None else take(x, columns) for x in (states, previous))
        seen = Candidates(layer, hidden, before, rank, real, self.of, self.left, left)
        score = self._scores(seen).to(real.device)
        keep = top(score, real, left)
        trace.add(layer, Drop(position, real, score, keep, left))
        if left == self.left:
            return None
        self.left = left
        text = self.stays.gather(1, layout.index) & layout.real
        kept = torch.zeros_like(text).scatter(1, columns, keep)
        return layout.narrowed(text | kept, [t + k for t, k in zip(self.texts, left, strict=True)])

    def _scores(self, seen: Candidates) -> Scores:
        if seen.real.numel() == 0:
            return seen.real.float()
        with torch.no_grad():
            score = self.method.score(seen).detach()
        if score.shape != seen.real.shape:
            raise ValueError(
                f"{type(self.method).__name__}.score must give one score a candidate, {tuple(seen.real.shape)}; "
                f"got {tuple(score.shape)}."
            )
        return score

    def enter(self, layout: Layout, kwargs: dict) -> dict:
        """Make what a drop at layer 0 left the sequence that enters the model; the decoder's new arguments.

        Raises:
            ValueError: position ids say that several sequences are packed into a row.
        """
        self.entry, self.entry_length = layout, self.length
        mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
        self.entry_mask = layout.real.long()
        if mask is not None and mask.ndim == 2:
            self.entry_mask = mask.gather(1, layout.index) * layout.real
        four = mask is not None and mask.ndim == 4
        if mask is None and positions is not None and (positions.diff(dim=-1) != 1).any():
            raise ValueError(
                "position_ids without an attention_mask must ascend by one if tokens are dropped at layer 0."
            )
        # Always a mask: without one, transformers takes gaps in position ids for packed sequences.
        mask = mask_for(mask, layout, layout, 0, flat=False) if four else self.entry_mask
        positions = self.position[:1] if positions is None else positions
        self.entry_end = positions[..., -1:] + 1
        positions = take(positions, layout.index)
        self.vision, self.stays = (x.gather(1, layout.index) & layout.real for x in (self.vision, self.stays))
        self.rank, self.position = (x.gather(1, layout.index) for x in (self.rank, self.position))
        return kwargs | {"attention_mask": mask, "position_ids": positions}

    def cached(self, n_layers: int, past: int) -> list[int]:
        """How long every layer's cache must be when the first layer's is `past`.

        Raises:
            ValueError: it was cropped so far that layers lost different tokens.
        """
        croppable = 0 if self.entry is not None else self.tail if self.segments else self.length
        if past < self.length - croppable:
            raise ValueError(
                f"the cache was cropped to {past} of the {self.length} tokens its prompt had, beyond its closing text; "
                "layers hold different tokens there. Run the prompt again."
            )
        lengths, width = [], self.length
        for layer in range(n_layers):
            width = self.segments[layer].width if layer in self.segments else width
            lengths.append(width + past - self.length)
        return lengths

    def continued(self, kwargs: dict, past: int) -> dict:
        """The decoder's arguments for tokens after a prefill that a drop at layer 0 shortened.

        Raises:
            ValueError: the caller's mask or position ids do not fit all tokens so far.
        """
        if self.entry is None:
            return kwargs
        mask, n_new = kwargs.get("attention_mask"), checks.tensor(kwargs).shape[1]
        seen, rows = past - self.length, len(self.of)
        width = self.entry_length + seen + n_new
        if mask is None:
            mask = self.entry_mask.new_ones(rows, width)
        if mask.shape != (rows, width):
            raise ValueError(
                f"after a drop at layer 0 attention_mask must be None or [{rows}, {width}], all tokens so far; got "
                f"{list(mask.shape)}. `generate` cannot go on with such a cache: drop at layer 1 or later."
            )
        start, positions = self.entry_end + seen, kwargs.get("position_ids")
        if positions is None:
            positions = start + torch.arange(n_new, device=start.device)
        elif n_new > 1 and (positions[..., :1] != start).any():
            raise ValueError(
                "after a drop at layer 0 position_ids must go on where the tokens so far end, "
                f"{start.flatten().tolist()}; got {positions[..., 0].flatten().tolist()}. `generate` cannot go on with "
                "such a cache, whose length it takes for the number of tokens: drop at layer 1 or later."
            )
        mask = torch.cat([self.entry_mask.to(mask), mask[:, self.entry_length :]], 1)
        return kwargs | {"attention_mask": mask, "position_ids": positions}

    def way_back(self) -> list[tuple[Layout, int]]:
        """Layouts to undo, last first, each with the length it was cut from."""
        steps = [(self.segments[max(self.segments)], self.length)] if self.segments else []
        return steps + ([(self.entry, self.entry_length)] if self.entry is not None else [])
