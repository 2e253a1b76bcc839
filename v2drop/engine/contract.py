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
from v2drop.models.parts import Parts
from v2drop.types import Angles, Columns, Flags, Hidden, Ranks, Real, Scores, States


@dataclass(frozen=True)
class Whole(TensorRecord):
    """The sequence that candidates stand in: every column still there, text too.

    Attributes:
        states: at the input of the layer.
        columns: where the candidates are.
        visible: columns that are neither padding nor holes.
        closing: text behind a row's last vision token.
        last: column of a row's last token, [batch, 1].
        noted: what the method's `start` said of each column; None if it said nothing.
        angles: cosines and sines at the position ids before the drop; None at layer 0.
        mask: the layer's attention mask before the drop, as the model's operator takes it; None: plain causal.
        position: of the candidates in the caller's sequence; -1 for a token made of no single one.
        placeholders: image placeholders of the caller's sequence; None if nobody knows them.
        parts: of the model.
        watcher: the method's own.
    """

    states: States
    columns: Ranks
    visible: Flags
    closing: Flags
    last: Int[Tensor, "batch 1"]
    noted: Flags | None
    angles: Angles | None
    mask: Tensor | None
    position: Ranks
    placeholders: Bool[Tensor, "batch length"] | None
    parts: Parts
    watcher: Watcher


@dataclass(frozen=True)
class Candidates(TensorRecord):
    """What a method sees at one drop layer: the vision tokens still there, in prompt order, rows padded at the end.

    Attributes:
        layer: at whose input the drop happens.
        hidden: their states at the input of the layer.
        previous: their states at the input of the layer before; None unless the method `needs_previous`.
        rank: how many vision tokens of the prompt come before each.
        real: False in padding.
        of: vision tokens the prompt had, per row.
        present: candidates per row.
        left: how many will be left, per row.
        whole: the sequence they stand in; None if they were made by hand.
    """

    layer: int
    hidden: Hidden
    previous: Hidden | None
    rank: Ranks
    real: Real
    of: list[int]
    present: list[int]
    left: list[int]
    whole: Whole | None = None


@dataclass(frozen=True)
class Choice(TensorRecord):
    """Whose places go on, and who stands there.

    Attributes:
        keep: flags over the candidates: places that go on.
        left: how many, per row.
        order: by place, ascending: which candidate stands there now; -1 for a token made of no single one, and in
            padding. None: everyone keeps their own place.
        states: by place: the states that go on. None: nobody's changes.
    """

    keep: Real
    left: list[int]
    order: Int[Tensor, "batch left"] | None = None
    states: Float[Tensor, "batch left dim"] | None = None


class Watcher:
    """Notes nothing. A method that needs more gives a watcher of its own, one for each `with`.

    Class attributes:
        reads_cache: it reads what the cache holds.
    """

    reads_cache: ClassVar[bool] = False

    def hooks(self, parts: Parts, layers: tuple[int, ...]) -> list[Any]:
        """Hook what is to be noted.

        Args:
            parts: of the model.
            layers: at whose inputs tokens are dropped.

        Returns:
            The handles, which are removed when the `with` ends.
        """
        return []

    def enter(self, vision: Flags, present: Flags) -> None:
        """A prompt enters layer 0: which columns are vision tokens, which are no padding."""

    def narrow(self, columns: Columns) -> None:
        """Only these columns of the sequence go on."""

    def forget(self) -> None:
        """A forward pass has ended: let go of all tensors."""


@runtime_checkable  # the run-time type checker of the tests asks isinstance
class Dropper(Protocol):
    """A method, as the engine sees it. Calls come in the order in which they stand here.

    Attributes:
        schedule: layers at whose inputs tokens are dropped, and the number or share of tokens left.
        enters: `choose` is also called at layer 0, before the first drop of the schedule.
        cuts_caches: after the last drop, KV caches of earlier layers are trimmed to the tokens that survive it.
        needs_previous: `candidates.previous` holds the states one layer earlier.
        positions: "keep": survivors keep their position ids; "repack": gaps in position ids are closed.
    """

    schedule: Schedule
    enters: ClassVar[bool]
    cuts_caches: ClassVar[bool]
    needs_previous: ClassVar[bool]
    positions: ClassVar[Literal["keep", "repack"]]

    def check_model(self, parts: Parts) -> None:
        """Refuse a model that the method cannot work on; called once, before anything runs."""

    def watcher(self) -> Watcher:
        """Hooks of the method's own; called once for every `with`."""

    def start(self, states: States, vision: Flags, closing: Flags) -> Flags | None:
        """Flags of the columns that enter layer 0, for `Whole.noted`; called once for every prefill."""

    def score(self, candidates: Candidates) -> Scores:
        """Importance of each candidate, higher is kept; called at every drop layer."""

    def choose(self, candidates: Candidates, score: Scores) -> Choice:
        """The candidates that survive; called right after `score`."""
