"""The bookkeeping of one prefill: which columns are vision, who is left, and what each layer's cache holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from v2drop.call import Call
from v2drop.candidates import Candidates, Choice, flagged
from v2drop.devices import moved
from v2drop.entry import Entry
from v2drop.layout import Layout, gone, restore, take
from v2drop.models import Parts
from v2drop.sight import Beside, candidates
from v2drop.trace import Drop, Trace
from v2drop.types import Columns, Flags, Ranks, Real, Scores, States
from v2drop.watcher import Watcher

if TYPE_CHECKING:
    from v2drop.methods.base import Method


@dataclass
class Prompt:
    """State of one prefill, [batch, length] in the sequence that enters layer 0.

    Attributes:
        vision: columns that may be dropped: vision tokens but for a row's last, whose output is the next token.
        present: columns that are no padding.
        stays: columns that always stay: text, and the last column, which generation reads.
        closing: text behind the last vision token.
        rank: of a vision token among the prompt's.
        position: in the caller's sequence.
        of: vision tokens per row.
        texts: columns that always stay, per row.
        left: vision tokens still there, per row.
        tail: columns at the end that stay in every row; a cache may be cropped by these.
        entry: what a drop at layer 0 left of the caller's sequence.
        segments: what is left from each later drop layer on.
        held: what caches hold from each layer on, and what these layers ran on, by which their position ids count.
        noted: what the method's `start` said.
    """

    method: Method
    parts: Parts
    vision: Flags
    present: Flags
    stays: Flags
    closing: Flags
    rank: Columns
    position: Columns
    of: list[int]
    texts: list[int]
    left: list[int]
    tail: int
    entry: Entry | None = None
    segments: dict[int, Layout] = field(default_factory=dict)
    held: dict[int, tuple[Layout, Layout]] = field(default_factory=dict)
    noted: Flags | None = None

    @classmethod
    def of_call(
        cls, mask: Tensor | None, vision: Bool[Tensor, "batch length"], method: Method, parts: Parts
    ) -> Prompt | None:
        """The state at the start of a decoder call; None if no row has a vision token to drop."""
        present = torch.ones_like(vision) if mask is None else mask.to(vision.device).bool()
        length = vision.shape[1]
        position = torch.arange(length, device=vision.device).expand_as(vision)
        last = length - 1 - present.flip(1).int().argmax(1, keepdim=True)
        vision = vision & present & (position != last)
        stays = (present & ~vision) | (position == length - 1)
        ends = stays.flip(1).int().cumprod(1).sum(1)
        of, texts, tails = torch.stack([vision.sum(1), stays.sum(1), ends]).tolist()
        if not any(of):
            return None
        rank = vision.cumsum(1) - 1
        closing = present & ~vision & (rank == rank[:, -1:])
        flags = (vision, present, stays, closing)
        return cls(method, parts, *flags, rank, position, of, texts, list(of), min(tails))

    @property
    def length(self) -> int:
        """Columns that enter layer 0."""
        return self.vision.shape[1]

    @property
    def shortened(self) -> int:
        """Columns that a drop at layer 0 took from the caller's sequence."""
        return 0 if self.entry is None else self.entry.length - self.length

    @property
    def everything(self) -> Layout:
        """The layout before any drop."""
        return Layout.full(*self.vision.shape, self.vision.device)

    def start(self, states: States, watcher: Watcher) -> None:
        """Show the method the embeddings."""
        watcher.enter(self.vision, self.present)
        noted = self.method.start(states, *moved((self.vision, self.closing), states.device))
        self.noted = moved(noted, self.vision.device)

    def drop(
        self, layer: int, layout: Layout, states: States, beside: Beside, trace: Trace
    ) -> tuple[Layout, Tensor, Tensor] | None:
        """Score the candidates and choose; None if all stay.

        Returns:
            The new layout, its columns in the old one, and their states.

        Raises:
            ValueError: the schedule's counts grow for this prompt, or the method's scores have a wrong shape.
        """
        columns, real = flagged(self.vision.gather(1, layout.index) & layout.real, max(self.left))
        seen = candidates(self, layer, layout, states, columns, real, beside)
        shown = moved(seen, states.device)  # the model's layers may be on several
        if real.numel() == 0:
            score, choice = real.float(), Choice(real, list(self.left))
        else:
            with torch.no_grad():
                score = self._checked(self.method.score(shown).detach(), shown.real)
            choice, score = moved((self.method.choose(shown, score), score), real.device)
        trace.add(layer, Drop(seen.whole.position, real, score, replace(choice, states=None)))
        if choice.left == self.left:
            return None
        self.left = choice.left
        text = self.stays.gather(1, layout.index) & layout.real
        kept = torch.zeros_like(text).scatter(1, columns, choice.keep)
        lengths = [t + k for t, k in zip(self.texts, choice.left, strict=True)]
        new, old = layout.narrowed(text | kept, lengths)
        states = take(states, old)
        if choice.states is not None:
            here = self.vision.gather(1, new.index) & new.real
            made = take(choice.states, (here.cumsum(1) - 1).clamp(min=0)).to(states)
            states = torch.where(here[..., None].to(states.device), made, states)
        if choice.order is not None:
            self._rename(choice, seen, layout.index.gather(1, columns))
        return new, old, states

    def _rename(self, choice: Choice, seen: Candidates, origin: Ranks) -> None:
        """Write down who stands at which place now."""
        places, real = flagged(choice.keep, choice.order.shape[1])
        # One column more, which takes what padding writes and is cut off again.
        to = torch.where(real, origin.gather(1, places), self.length)
        for name, values in (("position", seen.whole.position), ("rank", seen.rank)):
            named = values.gather(1, choice.order.clamp(min=0)).masked_fill(choice.order < 0, -1)
            old = getattr(self, name)
            old = torch.cat([old, old[:, :1]], 1)
            setattr(self, name, old.scatter(1, to, named)[:, :-1])

    def _checked(self, score: Tensor, real: Real) -> Scores:
        if score.shape != real.shape:
            raise ValueError(
                f"{type(self.method).__name__}.score must give one score a candidate, {tuple(real.shape)}; "
                f"got {tuple(score.shape)}."
            )
        return score.to(real.device)

    @property
    def repacks(self) -> bool:
        """Whether gaps in position ids are closed; places in time, height and width (M-RoPE) have none to close."""
        return self.method.positions == "repack" and not self.parts.axes

    def enter(self, layout: Layout, kwargs: dict, dtype: torch.dtype) -> dict:
        """Make what a drop at layer 0 left the sequence that enters the model; the decoder's new arguments.

        Raises:
            ValueError: position ids say that several sequences are packed into a row.
        """
        whole = torch.arange(self.length, device=self.vision.device).expand_as(self.vision)
        self.entry, kwargs = Entry.made(layout, kwargs, whole, self.present, self.repacks, self.parts, dtype)
        for name in ("vision", "present", "stays", "closing"):
            setattr(self, name, getattr(self, name).gather(1, layout.index) & layout.real)
        self.rank, self.position = (x.gather(1, layout.index) for x in (self.rank, self.position))
        if any(self.parts.windows):
            self.held[0] = (self.everything,) * 2  # from the first layer on, a model's own masks go by short caches
        return kwargs

    def moved(self, layout: Layout | None) -> tuple[Tensor | None, Tensor | None]:
        """How far position ids move down before each column of a layout, and behind the prompt; None: kept."""
        if layout is None or not self.repacks:
            return None, None
        return gone(layout, self.present)

    def continued(self, kwargs: dict, past: int, call: Call) -> dict:
        """The decoder's arguments for tokens after the prefill."""
        return kwargs if self.entry is None else self.entry.continued(kwargs, past - self.length, call)

    def restored(self, whole: Tensor) -> Tensor:
        """The decoder's output at the caller's length, NaN where a token was dropped."""
        if self.segments:
            whole = restore(whole, self.segments[max(self.segments)], self.length)
        return whole if self.entry is None else restore(whole, self.entry.layout, self.entry.length)
