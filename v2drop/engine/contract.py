"""The contract between the engine and a method: what a method offers, what it is shown, and what it returns.

Rows of candidates are padded at the *end*, rows of the sequence at the *front*; methods rely on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from v2drop.budgets.schedule import Schedule
from v2drop.models.devices import TensorRecord
from v2drop.models.parts import ModelParts
from v2drop.types import Angles, Columns, Flags, Hidden, Indices, Scores, States, Valid


@dataclass(frozen=True)
class TokenSequence(TensorRecord):
    """The sequence that contains the candidates: all remaining columns, text included.

    Attributes:
        states: hidden states at the input of the drop layer.
        columns: column of each candidate in this sequence.
        visible: columns that are neither padding nor holes.
        text_after: columns of text behind a row's last vision token.
        last: column of a row's last token, [batch, 1].
        annotation: flags of the columns that the method's `annotate` gave; None if it gave none.
        angles: cosines and sines at the position ids before the drop; None at layer 0.
        mask: the layer's attention mask before the drop, as the model's operator takes it; None: plain causal.
        position: position of each candidate in the caller's sequence; -1 for a new token (`Selection.order`).
        placeholders: image placeholders of the caller's sequence; None if the model was called with `inputs_embeds`.
        parts: modules of the model.
        hooks: hooks of the method (`Method.hooks`).
    """

    states: States
    columns: Indices
    visible: Flags
    text_after: Flags
    last: Int[Tensor, "batch 1"]
    annotation: Flags | None
    angles: Angles | None
    mask: Tensor | None
    position: Indices
    placeholders: Bool[Tensor, "batch length"] | None
    parts: ModelParts
    hooks: Hooks


@dataclass(frozen=True)
class Candidates(TensorRecord):
    """What a method is shown at one drop layer: the remaining vision tokens, in prompt order, rows padded at the end.

    Without those that are protected, which stay and count as kept.

    Attributes:
        layer: the drop layer, at whose input tokens are dropped.
        hidden: hidden states of the candidates at the input of the layer, [batch, vision, dim].
        previous: their hidden states one layer earlier; None unless the method `needs_previous`.
        vision_index: number of the prompt's vision tokens before each candidate.
        valid: False in padding.
        n_prompt_tokens: vision tokens of the prompt, per row.
        n_candidates: candidates, per row.
        n_keep: candidates that the schedule keeps, per row.
        sequence: the sequence that contains the candidates; None in tests of a method on tensors made by hand.
    """

    layer: int
    hidden: Hidden
    previous: Hidden | None
    vision_index: Indices
    valid: Valid
    n_prompt_tokens: list[int]
    n_candidates: list[int]
    n_keep: list[int]
    sequence: TokenSequence | None = None


@dataclass(frozen=True)
class Selection(TensorRecord):
    """The candidates' places that survive a drop, and the token at each of them.

    Attributes:
        keep: flags of the surviving places, [batch, vision].
        n_kept: number of surviving places, per row.
        order: index of the candidate whose position each surviving place gets, places ascending. For a merged token,
            that of one of its members; -1 for a new token that has none, and in padding. None: every surviving
            candidate keeps its own place.
        states: hidden state at each surviving place, places ascending. None: no state changes.
    """

    keep: Valid
    n_kept: list[int]
    order: Int[Tensor, "batch left"] | None = None
    states: Float[Tensor, "batch left dim"] | None = None


class Hooks:
    """Hooks of a method for one `with`, which record the model's computation or change it. By default there are none.

    Class attributes:
        reads_cache: whether the hooks read cached keys and values.
    """

    reads_cache: ClassVar[bool] = False

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Install the hooks; called when the `with` is entered.

        Args:
            parts: modules of the model.
            drop_layers: layers at whose inputs tokens are dropped.

        Returns:
            The handles of the hooks, which are removed when the `with` is left.
        """
        return []

    def prefill_begins(self, vision: Flags, not_padding: Flags) -> None:
        """React to a prompt that enters layer 0.

        Args:
            vision: flags of the columns that may be dropped.
            not_padding: flags of the columns; False in padding.
        """

    def columns_kept(self, kept: Columns) -> None:
        """React to a drop at layer 1 or later.

        Args:
            kept: columns of the sequence before the drop that remain.
        """

    def pass_ends(self) -> None:
        """Let go of the tensors of a forward pass; called when it ends."""


@runtime_checkable  # the run-time type checker of the tests asks isinstance
class Dropper(Protocol):
    """A method, as the engine sees it. The functions are called in the order in which they are listed here.

    Attributes:
        schedule: layers at whose inputs tokens are dropped, and the number or share of tokens left.
        merges_at_entry: whether `choose` is also called at layer 0, before the first drop of the schedule.
        trims_caches: whether KV caches of earlier layers are trimmed to the tokens that survive the last drop.
        needs_previous: whether `candidates.previous` must hold the states one layer earlier.
        positions: what happens to position ids (`v2drop.sequence.position_ids`).
        protect: positions of tokens that are never candidates, or "sinks" (`v2drop.engine.protection`).
    """

    schedule: Schedule
    protect: tuple[int, ...] | Literal["sinks"]
    merges_at_entry: ClassVar[bool]
    trims_caches: ClassVar[bool]
    needs_previous: ClassVar[bool]
    positions: Literal["keep", "repack"] | tuple[int, ...]

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model that the method cannot work on; called once, before anything runs."""

    def hooks(self) -> Hooks:
        """New hooks of the method; called once for every `with`."""

    def annotate(self, states: States, vision: Flags, text_after: Flags) -> Flags | None:
        """Flags of the columns that enter layer 0, for `TokenSequence.annotation`; called once for every prefill."""

    def score(self, candidates: Candidates) -> Scores:
        """Importance of each candidate, [batch, vision], higher is kept; called at every drop layer."""

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """The candidates that survive; called right after `score`."""
