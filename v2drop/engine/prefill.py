"""One prefill: the candidates that a method is shown at each drop, its selection, and the columns left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from v2drop.engine.contract import Candidates, Dropper, Hooks, Selection, TokenSequence
from v2drop.engine.prompt_columns import PromptColumns
from v2drop.engine.protection import protected_flags
from v2drop.engine.trace import DropRecord, Trace
from v2drop.guards.values import check_scores, check_states
from v2drop.models.devices import to_device
from v2drop.models.parts import ModelParts
from v2drop.scoring.selection import gather_columns, padded_columns, with_new_states
from v2drop.sequence.cached_prompt import CachedPrompt
from v2drop.sequence.layout import Layout
from v2drop.sequence.shortened_prompt import ShortenedPrompt
from v2drop.types import Angles, Flags, Indices, Scores, States, Survivors, Valid


@dataclass
class Prefill:
    """Scoring and choosing in one prefill; needed until the prefill is over.

    Attributes:
        method: the method that drops.
        parts: modules of the model.
        hooks: hooks of the method.
        placeholders: image placeholders of the caller's sequence; None if the model was called with `inputs_embeds`.
        columns: columns of the caller's sequence; after `shorten_at_entry`, of the sequence that enters layer 0.
        n_prompt_tokens: number of vision tokens that may be dropped, per row.
        n_fixed: number of columns that always stay, per row.
        n_left: number of remaining vision tokens, per row.
        cached: what forward passes after this one need.
        annotation: flags of columns that the method's `annotate` returned; None if it returned none.
    """

    method: Dropper
    parts: ModelParts
    hooks: Hooks
    placeholders: Bool[Tensor, "batch length"] | None
    columns: PromptColumns
    n_prompt_tokens: list[int]
    n_fixed: list[int]
    n_left: list[int]
    cached: CachedPrompt
    annotation: Flags | None = None

    @classmethod
    def of_columns(
        cls,
        columns: PromptColumns,
        placeholders: Bool[Tensor, "batch length"] | None,
        method: Dropper,
        parts: ModelParts,
        hooks: Hooks,
    ) -> Prefill | None:
        """The prefill of a prompt with these columns; None if no row has a vision token that may be dropped."""
        n_vision, n_fixed, suffix = columns.counts()
        if not any(n_vision):
            return None
        # Position ids of three axes (M-RoPE: time, height, width) do not count tokens, so there are no gaps to close.
        cached = CachedPrompt(columns.not_padding, suffix, "keep" if parts.mrope else method.positions)
        return cls(method, parts, hooks, placeholders, columns, n_vision, n_fixed, list(n_vision), cached)

    def annotate(self, states: States) -> None:
        """Show the method the hidden states that enter layer 0, and keep its annotation."""
        columns = self.columns
        self.hooks.prefill_begins(columns.vision, columns.not_padding)
        flags = self.method.annotate(states, *to_device((columns.vision, columns.text_after), states.device))
        self.annotation = to_device(flags, columns.vision.device)

    def select(
        self,
        layer: int,
        layout: Layout,
        states: States,
        trace: Trace,
        previous: States | None = None,
        angles: Angles | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Layout, Int[Tensor, "batch left"], Survivors] | None:
        """Let the method score the candidates at the input of a layer and choose survivors.

        Args:
            layer: the layer about to run.
            layout: remaining columns.
            states: hidden states of these columns.
            trace: trace in which the drop is recorded.
            previous: their hidden states one layer earlier; None unless the method needs them.
            angles: cosines and sines of their rotary angles; None at layer 0.
            mask: the layer's attention mask of these columns, as the model's operator takes it.

        Returns:
            The new layout, its columns in the old one [batch, left] and their states; None if all candidates stay.

        Raises:
            ValueError: the schedule's counts grow for this prompt; a hidden state is not finite; the method's scores
                have a wrong shape or are NaN.
        """
        protected = protected_flags(self.method.protect, self.columns, layout, states)
        n_shown = [left - n for left, n in zip(self.n_left, protected.sum(1).tolist(), strict=True)]
        shown = self.columns.flags_in(layout, "vision") & ~protected
        columns, valid = padded_columns(shown, max(n_shown))
        sequence = self._sequence(layout, states, columns, angles, mask)
        candidates = self._candidates(layer, layout, valid, previous, sequence, n_shown)
        score, selection = self._choose(candidates, states.device)
        stay = self.columns.origin.gather(1, layout.index).masked_fill(~protected, -1)
        trace.note_drop(layer, DropRecord(sequence.position, valid, score, replace(selection, states=None), stay))
        if selection.n_kept == n_shown:
            return None
        self.n_left = [left - n + kept for left, n, kept in zip(self.n_left, n_shown, selection.n_kept, strict=True)]
        fixed = self.columns.flags_in(layout, "fixed") | protected
        kept = torch.zeros_like(fixed).scatter(1, columns, selection.keep)
        lengths = [text + vision for text, vision in zip(self.n_fixed, self.n_left, strict=True)]
        new, old = layout.selected(fixed | kept, lengths)
        states = gather_columns(states, old)
        if selection.states is not None:
            states = with_new_states(states, kept.gather(1, old) & new.valid, selection.states)
        if selection.order is not None:
            self.columns = self.columns.reordered(selection, candidates, layout.index.gather(1, columns))
        return new, old, states

    def _sequence(
        self, layout: Layout, states: States, columns: Indices, angles: Angles | None, mask: Tensor | None
    ) -> TokenSequence:
        visible = self.columns.flags_in(layout, "not_padding")
        order = torch.arange(layout.width, device=visible.device)
        return TokenSequence(
            states=states,
            columns=columns,
            visible=visible,
            text_after=self.columns.flags_in(layout, "text_after"),
            last=torch.where(visible, order, 0).amax(1, keepdim=True),  # column 0 of a row of padding
            annotation=None if self.annotation is None else self.annotation.gather(1, layout.index) & layout.valid,
            angles=angles,
            mask=mask,
            position=self.columns.origin.gather(1, layout.index.gather(1, columns)),
            placeholders=self.placeholders,
            parts=self.parts,
            hooks=self.hooks,
        )

    def _candidates(
        self, layer: int, layout: Layout, valid: Valid, previous: States | None, sequence: TokenSequence, shown: list
    ) -> Candidates:
        scheduled = [self.method.schedule.after(n).get(layer, n) for n in self.n_prompt_tokens]
        return Candidates(
            layer=layer,
            hidden=gather_columns(sequence.states, sequence.columns),
            previous=None if previous is None else gather_columns(previous, sequence.columns),
            vision_index=self.columns.vision_index.gather(1, layout.index.gather(1, sequence.columns)),
            valid=valid,
            n_prompt_tokens=self.n_prompt_tokens,
            n_candidates=shown,
            # A method may leave fewer; protected tokens count as left.
            n_keep=[max(0, min(n, m) - (m - k)) for n, m, k in zip(scheduled, self.n_left, shown, strict=True)],
            sequence=sequence,
        )

    def _choose(self, candidates: Candidates, device: torch.device) -> tuple[Scores, Selection]:
        """Scores and selection, on the device of `candidates`; the method works on `device`, that of the states."""
        valid = candidates.valid
        if valid.numel() == 0:
            return valid.float(), Selection(valid, candidates.n_candidates)
        shown = to_device(candidates, device)
        check_states(candidates.layer, shown.sequence.states, shown.sequence.visible)
        with torch.no_grad():
            score = self.method.score(shown)
        check_scores(type(self.method).__name__, candidates.layer, score, shown.valid)
        score = score.detach()
        selection, score = to_device((self.method.choose(shown, score.to(device)), score), valid.device)
        return score, selection

    def shorten_at_entry(self, layout: Layout, kwargs: dict, dtype: torch.dtype) -> dict:
        """Replace the caller's sequence by what a drop at layer 0 left; returns the decoder's arguments for it.

        Args:
            layout: columns that are left.
            kwargs: the decoder's arguments; new embeddings are not put into the result.
            dtype: dtype of the hidden states.

        Raises:
            ValueError: as `ShortenedPrompt.from_drop`.
        """
        columns = self.columns
        ids = torch.arange(columns.length, device=columns.vision.device).expand_as(columns.vision)
        options = self.cached.positions == "repack", self.parts, dtype
        shortened, kwargs = ShortenedPrompt.from_drop(layout, kwargs, ids, columns.not_padding, *options)
        self.columns = columns.selected(layout)
        self.cached.note_entry(shortened, layout, any(self.parts.sliding_windows))
        return kwargs
