"""`Composed`: several methods on one model, each at its own layers, under one schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.several import SeveralHooks
from v2drop.methods.base import Method
from v2drop.models.parts import ModelParts
from v2drop.sequence.position_ids import Positions
from v2drop.types import Flags, Scores, States

ANY = (
    "merges_tokens",
    "needs_frames",
    "needs_tower",
    "needs_previous",
    "needs_attention",
    "uses_query",
    "uses_position",
)


@dataclass(frozen=True)
class Composed(Method):
    """Several methods on one model, each from its layer on, under one schedule; the result is a method too.

    One before the language model and one inside it, another one at each drop, or random dropping behind the layer from
    which a choice no longer matters (the "information horizon", arXiv 2512.07580).

    Args:
        schedule: all drops: one budget.
        methods: by the layer from which they drop up to the next one's, classes of methods or functions from a schedule
            to a method, as {0: VisionZip, 2: partial(FastV, full_attention_map=True), 16: Random}. Becomes a tuple of
            pairs (layer, method).
        positions: as for every method. None: what all the methods do to position ids; it must be given where they
            differ. By name only.

    Raises:
        ValueError: there is no method, one without a drop of the schedule, a drop before the first method, or one that
            cannot be composed: MustDrop, and two methods that choose text tokens from the embeddings.

    >>> from v2drop import FastV, Random
    >>> tail = Composed(Schedule({2: 0.5, 16: 0.25, 24: 0.1}), {2: FastV, 16: Random})
    >>> [(layer, method.schedule) for layer, method in tail.methods]
    [(2, Schedule({2: 0.5})), (16, Schedule({16: 0.25, 24: 0.1}))]
    """

    methods: Mapping[int, Callable[[Schedule], Method]] | tuple[tuple[int, Method | Callable[[Schedule], Method]], ...]
    positions: Positions | range | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Give each method its part of the schedule, and check that they fit together."""
        if isinstance(self.schedule, Schedule):
            self._set("methods", tuple(_made(self.schedule, self.methods)))
            self._combine([method for _, method in self.methods])
        super().__post_init__()

    def _combine(self, methods: list[Method]) -> None:
        """What the engine and others ask of a method, from those of the methods."""
        trimming = [type(method).__name__ for method in methods if method.trims_caches]
        if trimming:
            raise ValueError(f"methods must not trim caches that another one fills, as {trimming[0]} does.")
        annotating = [type(method).__name__ for method in methods if type(method).annotate is not Method.annotate]
        if len(annotating) > 1:
            raise ValueError(
                f"one of the methods at most may choose text tokens from the embeddings; got {', '.join(annotating)}."
            )
        if any(len(method.protect) for method in methods):
            raise ValueError("protect must be given to Composed itself, for all of its methods; got one in a method.")
        for name in ANY:
            self._set(name, any(getattr(method, name) for method in methods))
        self._set("exact_count", all(method.exact_count for method in methods))
        self._set("cannot_protect", next((m.cannot_protect for m in methods if m.cannot_protect), ""))
        if self.positions is None:
            rules = {method.positions for method in methods}
            if len(rules) > 1:
                said = ", ".join(f"{type(method).__name__} {method.positions}" for method in methods)
                raise ValueError(f"positions must be given where the methods differ in them; got {said}.")
            self._set("positions", rules.pop())

    @classmethod
    def for_average(
        cls, average: int | float, n_tokens: int, n_layers: int, *, methods: Mapping[int, Any], **options: Any
    ) -> Composed:
        """The methods with a given true layer average, one drop for each of them, at its layer."""
        return cls(Schedule.for_average(average, tuple(methods), n_tokens, n_layers), methods, **options)

    @classmethod
    def _released_left(cls, n_layers: int) -> NoReturn:
        raise ValueError("composed methods have no released schedule; give one: Composed(Schedule({...}), {...}).")

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> NoReturn:
        """Refused: composed methods have no released schedule.

        Raises:
            ValueError: always.
        """
        cls._released_left(0)

    def at(self, layer: int) -> Method:
        """The method that drops at a layer of the schedule."""
        return next(method for _, method in self.methods if layer in method.schedule.left)

    def score(self, candidates: Candidates) -> Scores:
        """The scores of the layer's method."""
        return self.at(candidates.layer).score(_as_alone(candidates))

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """The selection of the layer's method."""
        return self.at(candidates.layer).choose(_as_alone(candidates), scores)

    def annotate(self, states: States, vision: Flags, text_after: Flags) -> Flags | None:
        """The flags of the method that gives some."""
        given = (method.annotate(states, vision, text_after) for _, method in self.methods)
        return next((flags for flags in given if flags is not None), None)

    def hooks(self) -> Hooks:
        """The hooks of all methods."""
        return SeveralHooks([(method.schedule.layers, method.hooks()) for _, method in self.methods])

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model that one of the methods cannot work on.

        Raises:
            ValueError: as for that method.
        """
        for _, method in self.methods:
            method.check_model(parts)


def _made(schedule: Schedule, methods: Any) -> Iterator[tuple[int, Method]]:
    """The methods, each with its part of the schedule."""
    pairs = methods.items() if isinstance(methods, Mapping) else methods
    given = sorted(pairs, key=lambda pair: pair[0]) if isinstance(methods, (Mapping, tuple)) else []
    if not given or any(not isinstance(layer, int) for layer, _ in given):
        raise ValueError(f"methods must map layers to methods, as {{2: FastV, 16: Random}}; got {methods!r}.")
    starts = [layer for layer, _ in given]
    early = [layer for layer in schedule.layers if layer < starts[0]]
    if early:
        raise ValueError(f"methods must start at the first drop, layer {early[0]}, or before; got {starts}.")
    for (start, make), end in zip(given, [*starts[1:], None], strict=True):
        left = {k: v for k, v in schedule.left.items() if k >= start and (end is None or k < end)}
        if not left:
            raise ValueError(f"every method must have a drop of the schedule, {schedule.layers}; none from {start} on.")
        part = Schedule(left, least=schedule.least)
        if not isinstance(make, Method):
            method = make(part)
        else:  # pairs hold methods that were made already, and perhaps for another schedule, which was replaced
            method = replace(make, schedule=part) if isinstance(methods, tuple) else make
        if not isinstance(method, Method) or isinstance(method, Composed) or method.schedule != part:
            raise ValueError(f"methods[{start}] must make a method of {part}; got {method!r}.")
        yield start, method


def _as_alone(candidates: Candidates) -> Candidates:
    """The candidates with the hooks of the layer's method."""
    sequence = candidates.sequence
    own = sequence.hooks.at(candidates.layer) if isinstance(sequence.hooks, SeveralHooks) else sequence.hooks
    return replace(candidates, sequence=replace(sequence, hooks=own))
