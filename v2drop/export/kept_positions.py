"""`KeptPositions`: the vision tokens that are left from each drop layer on, as ragged lists of one prompt each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from v2drop.arguments import whole_number
from v2drop.budgets.schedule import Schedule
from v2drop.engine.trace import Trace
from v2drop.methods.base import Method
from v2drop.sequence.position_ids import Positions, checked_positions

Layers = Mapping[int, Sequence[int]]


@dataclass(frozen=True)
class KeptPrompt:
    """The vision tokens of one prompt, by positions counted from 0, padding not counted, text and vision alike.

    Args:
        length: number of tokens of the prompt, text and vision.
        vision: positions of the vision tokens that could be dropped, ascending. A vision token that ends the prompt is
            none of them: its output is the next token.
        kept: by drop layer, the positions of those that are left from this layer on, ascending.

    Raises:
        ValueError: positions do not ascend or lie outside the prompt; a layer keeps what is no vision token, or what an
            earlier one dropped.
    """

    length: int
    vision: Sequence[int]
    kept: Layers

    def __post_init__(self) -> None:
        """Check all that can be checked without the other prompts."""
        object.__setattr__(self, "length", whole_number("length", self.length, 0))
        object.__setattr__(self, "vision", _ascending("vision", self.vision, self.length))
        there, kept = set(self.vision), {}
        for layer, positions in sorted(_mapping("kept", self.kept).items()):
            kept[whole_number("each layer of kept", layer, 0)] = _ascending(f"kept[{layer}]", positions, self.length)
            if wrong := sorted(set(kept[layer]) - there):
                raise ValueError(f"kept[{layer}] must be left of the vision tokens before; got {wrong[:5]} too.")
            there = set(kept[layer])
        object.__setattr__(self, "kept", kept)

    def tokens(self, n_layers: int) -> list[int]:
        """The number of vision tokens that each of the decoder's layers runs on."""
        counts, left = [], len(self.vision)
        for layer in range(n_layers):
            left = len(self.kept.get(layer, range(left)))
            counts.append(left)
        return counts

    def lengths(self, n_layers: int) -> list[int]:
        """The length of the sequence that each of the decoder's layers runs on, text and vision."""
        return [self.length - len(self.vision) + left for left in self.tokens(n_layers)]


@dataclass(frozen=True)
class KeptPositions:
    """What a method kept of some prompts.

    Args:
        method: the name of its class.
        schedule: its schedule.
        positions: what happens to position ids: "keep", "repack", or the layers that keep them while others repack.
        n_layers: the number of decoder layers.
        prompts: the prompts, one or more, with the same drop layers where they have vision tokens.

    Raises:
        ValueError: a value is none of these, or a drop layer is none of the schedule's or the decoder's.
    """

    method: str
    schedule: Schedule
    positions: Positions
    n_layers: int
    prompts: Sequence[KeptPrompt]

    def __post_init__(self) -> None:
        """Check the prompts against schedule and decoder."""
        if not isinstance(self.method, str) or not isinstance(self.schedule, Schedule):
            raise ValueError(f"method must be a text and schedule a Schedule; got {self.method!r}, {self.schedule!r}.")
        object.__setattr__(self, "positions", checked_positions(self.positions))
        object.__setattr__(self, "n_layers", whole_number("n_layers", self.n_layers, 1))
        object.__setattr__(self, "prompts", tuple(self.prompts))
        if not self.prompts or not all(isinstance(prompt, KeptPrompt) for prompt in self.prompts):
            raise ValueError(f"prompts must be KeptPrompts, one or more; got {self.prompts!r}.")
        allowed = [layer for layer in self.schedule.layers if layer < self.n_layers]
        for number, prompt in enumerate(self.prompts):
            if list(prompt.kept) != allowed:
                raise ValueError(
                    f"each prompt must have the schedule's drop layers, {allowed}; prompt {number} has "
                    f"{list(prompt.kept)}."
                )

    @property
    def average_tokens(self) -> float:
        """The true layer average of vision tokens, mean over the prompts that have vision tokens; 0 if none has."""
        counts = [prompt.tokens(self.n_layers) for prompt in self.prompts if prompt.vision]
        return sum(sum(count) / len(count) for count in counts) / len(counts) if counts else 0.0


def kept_positions(trace: Trace, method: Method) -> KeptPositions:
    """What a method kept of the latest prompt of a trace, a row of the batch each.

    Args:
        trace: the trace of `with method(model) as trace`, after a prompt has run.
        method: the method.

    Raises:
        ValueError: no prompt has run; or the method makes tokens of several, or changes caches, which positions alone
            do not say.
    """
    if not isinstance(trace, Trace) or not isinstance(method, Method):
        raise ValueError(f"needed are the trace and the method of a `with`; got {trace!r}, {method!r}.")
    # DyCoke's second stage hides tokens anew at every step.
    if method.merges_tokens or method.trims_caches or getattr(method, "visible_share", None) is not None:
        raise ValueError(
            f"{type(method).__name__} merges tokens or changes caches, which a list of kept positions cannot say; "
            "methods that only drop can be exported."
        )
    vision, present = trace.columns
    place, kept = present.cumsum(1) - 1, trace.kept
    layers = [layer for layer in method.schedule.layers if layer < len(trace.vision_tokens)]
    prompts = []
    for row in range(len(vision)):
        shown = place[row][vision[row]].tolist()
        left = {layer: _places(place[row], kept[layer][row]) if shown else [] for layer in layers}
        prompts.append(KeptPrompt(int(present[row].sum()), shown, left))
    return KeptPositions(type(method).__name__, method.schedule, method.positions, len(trace.vision_tokens), prompts)


def _places(place: Tensor, kept: Tensor) -> list[int]:
    """Positions without padding, of columns padded with -1."""
    return place[kept[kept >= 0]].tolist()


def _mapping(name: str, value: Any) -> Mapping:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must map layers to positions; got {value!r}.")
    return value


def _ascending(name: str, values: Any, length: int) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple, range)):
        raise ValueError(f"{name} must be a list of positions; got {values!r}.")
    found = tuple(whole_number(f"each of {name}", value, 0, length - 1) for value in values)
    if any(first >= second for first, second in pairwise(found)):
        raise ValueError(f"{name} must ascend, each position once; got {list(values)}.")
    return found
