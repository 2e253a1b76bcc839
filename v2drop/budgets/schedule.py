"""`Schedule`: the number or share of vision tokens left from each drop layer on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from v2drop.arguments import whole_number
from v2drop.budgets.counting import (
    check_falling,
    check_layers,
    checked_entry,
    counts_per_layer,
    layer_average,
    tokens_after,
)
from v2drop.budgets.presets import PRESETS
from v2drop.budgets.solvers import left_for_average, left_for_final


@dataclass(frozen=True, eq=False)
class Schedule:
    """Vision tokens left from each drop layer on: `{layer: int}`, a number, or `{layer: float}`, a share.

    A drop at layer l happens at the *input* of layer l (0-based): layer l is the first to run on the shorter
    sequence. Shares are of the prompt's vision tokens and are rounded down (`v2drop.budgets.counting.share_of`). An int
    larger than the number of the prompt's vision tokens drops nothing, and 0 drops all of them.

    Args:
        left: tokens or share of tokens left, by drop layer; must not grow with depth.
        label: origin of the schedule, set by `preset`, `for_average` and `for_final`; not compared by `==`.
        least: number of tokens that a share leaves at least, if the prompt has as many; released codes keep
            max(1, int(...)).

    Raises:
        ValueError: `left` is not a mapping; a layer is negative or not an int; a count is negative; a share lies
            outside [0, 1]; counts grow, or shares grow; `least` is no int of 0 or more.

    >>> Schedule({3: 0.5, 17: 0.25, 22: 0}).counts(n_tokens=576, n_layers=24)[-8:]
    [288, 144, 144, 144, 144, 144, 0, 0]
    """

    left: Mapping[int, int | float]
    label: str = field(default="", compare=False)
    least: int = 0

    def __post_init__(self) -> None:
        """Check all that needs no model and no prompt, and freeze the mapping, sorted by layer."""
        if not isinstance(self.left, Mapping):
            raise ValueError(f"left must map layers to counts or shares, as in {{3: 0.5}}; got {self.left!r}.")
        ordered = dict(sorted(checked_entry(layer, amount) for layer, amount in self.left.items()))
        for is_count in (True, False):  # an int and a share can be compared only when the prompt is known
            check_falling({k: v for k, v in ordered.items() if isinstance(v, int) == is_count})
        object.__setattr__(self, "left", MappingProxyType(ordered))
        object.__setattr__(self, "least", whole_number("least", self.least, 0))

    def _key(self) -> tuple:
        # 1 == 1.0 in Python, but 1 is one token and 1.0 is all of them.
        return self.least, *((layer, isinstance(amount, int), amount) for layer, amount in self.left.items())

    def __eq__(self, other: object) -> bool:
        """Whether layers, counts and shares are equal; labels may differ."""
        return self._key() == other._key() if isinstance(other, Schedule) else NotImplemented

    def __hash__(self) -> int:
        """Hash of layers, counts and shares, consistent with `__eq__`."""
        return hash(self._key())

    def __reduce__(self) -> tuple:
        """Pickle as a plain dictionary, because a mapping proxy cannot be pickled."""
        return Schedule, (dict(self.left), self.label, self.least)

    def __repr__(self) -> str:
        """The expression that makes an equal schedule."""
        return f"Schedule({dict(self.left)}{f', least={self.least}' if self.least else ''})"

    @property
    def layers(self) -> tuple[int, ...]:
        """Drop layers, ascending."""
        return tuple(self.left)

    def after(self, n_tokens: int) -> dict[int, int]:
        """Tokens left after each drop, by drop layer, for a prompt of `n_tokens` vision tokens.

        Raises:
            ValueError: `n_tokens` is negative, or counts grow for this prompt; only a mix of ints and shares can do
                that.

        >>> Schedule({3: 288, 17: 0.25}).after(576)
        {3: 288, 17: 144}
        """
        return tokens_after(self.left, n_tokens, self.least)

    def counts(self, n_tokens: int, n_layers: int) -> list[int]:
        """Number of vision tokens that each of the `n_layers` decoder layers runs on.

        Raises:
            ValueError: `n_layers` is less than 1, a layer of the schedule lies outside the model, `n_tokens` is
                negative, or counts grow (`after`).
        """
        return counts_per_layer(self.left, n_tokens, n_layers, self.least)

    def average(self, n_tokens: int, n_layers: int) -> float:
        """The true layer average: the mean over decoder layers of the vision tokens that each runs on.

        Raises:
            ValueError: as `counts`.

        >>> Schedule.preset("llava-1.5-7b", 192).average(n_tokens=576, n_layers=32)
        202.8125
        """
        return layer_average(self.left, n_tokens, n_layers, self.least)

    def check_layers(self, n_layers: int) -> None:
        """Refuse a schedule with layers that a model of `n_layers` decoder layers does not have.

        Raises:
            ValueError: a layer of the schedule is `n_layers` or more.
        """
        check_layers(self.left, n_layers)

    @classmethod
    def for_average(cls, average: float, layers: tuple[int, ...], n_tokens: int, n_layers: int) -> Schedule:
        """The schedule whose true layer average is `average` to within one token.

        Each drop leaves the same share r of the tokens before it, and r is found by bisection. Where a change of r
        changes a count, the count changes by one token. So the layer averages just below and just above differ by at
        most one, and the nearer to `average` is taken.

        Args:
            average: true layer average of vision tokens.
            layers: drop layers.
            n_tokens: number of the prompt's vision tokens.
            n_layers: number of decoder layers.

        Raises:
            ValueError: `average` is not a number; `layers` is empty, repeats a layer or lies outside the model; no
                counts at these layers give `average`.

        >>> schedule = Schedule.for_average(192, layers=(3, 17, 22), n_tokens=576, n_layers=32)
        >>> schedule, schedule.average(576, 32)
        (Schedule({3: 246, 17: 105, 22: 45}), 192.09375)
        """
        left = left_for_average(average, layers, n_tokens, n_layers)
        return cls(left, label=f"layer average {layer_average(left, n_tokens, n_layers):.1f} of {n_tokens}")

    @classmethod
    def for_final(cls, final: int, layers: tuple[int, ...], n_tokens: int, n_layers: int) -> Schedule:
        """The schedule that leaves `final` tokens after its last drop; each drop leaves the same share of the tokens.

        Args:
            final: number of vision tokens left after the last drop.
            layers: drop layers.
            n_tokens: number of the prompt's vision tokens.
            n_layers: number of decoder layers.

        Raises:
            ValueError: `layers` is empty, repeats a layer or lies outside the model; `final` is not an int from 0 to
                `n_tokens`.

        >>> schedule = Schedule.for_final(72, layers=(8, 16, 24), n_tokens=576, n_layers=32)
        >>> schedule, schedule.average(576, 32)
        (Schedule({8: 288, 16: 144, 24: 72}), 270.0)
        """
        left = left_for_final(final, layers, n_tokens, n_layers)
        average = layer_average(left, n_tokens, n_layers)
        return cls(left, label=f"{final} of {n_tokens} in the end, layer average {average:.1f}")

    @classmethod
    def preset(cls, model: str, budget: int) -> Schedule:
        """The schedule of a paper or a released code; its `label` names the source and the true layer average.

        Args:
            model: name of the model in `v2drop.budgets.presets.PRESETS`, with the method's name after it for methods
                other than V2Drop.
            budget: budget as the source names it, in tokens.

        Raises:
            ValueError: no source defines that budget for that model.

        >>> Schedule.preset("llava-1.5-7b", 192)
        Schedule({3: 288, 17: 144, 22: 1})
        >>> Schedule.preset("llava-1.5-7b", 192).label
        'V2Drop, released LLaVA code: true layer average 202.8 of 576 tokens over 32 layers'
        """
        if (model, budget) not in PRESETS:
            known = ", ".join(f"{name!r} at {label}" for name, label in PRESETS)
            raise ValueError(
                f"no paper or released code defines {model!r} at {budget} tokens; allowed: {known}. "
                "For any other budget use Schedule.for_average."
            )
        preset = PRESETS[model, budget]
        return cls(preset.left, preset.label, preset.least)
