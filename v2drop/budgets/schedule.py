"""How many vision tokens are left from which decoder layer on; counts are rounded by `share_of` alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from types import MappingProxyType

from v2drop.budgets.counting import (
    check_entry,
    check_falling,
    check_layers,
    counts_per_layer,
    layer_average,
    tokens_after,
)
from v2drop.budgets.presets import PRESETS
from v2drop.budgets.solvers import left_for_average, left_for_final


@dataclass(frozen=True, eq=False)
class Schedule:
    """Vision tokens left per decoder layer: `{layer: int}` (so many) or `{layer: float}` (that share of the prompt's).

    A drop at layer l happens at the *input* of layer l (0-based): layer l is the first to run on the shorter
    sequence. An int larger than what a prompt has leaves everything; 0 may be left.

    Args:
        left: what is left from which layer on; counts may not grow with depth.
        label: where the schedule comes from (set by `preset` and `for_average`).

    Raises:
        ValueError: a layer is negative or no int; a count is negative; a share lies outside [0, 1]; counts grow.

    >>> Schedule({3: 0.5, 17: 0.25, 22: 0}).counts(n_tokens=576, n_layers=24)[-8:]
    [288, 144, 144, 144, 144, 144, 0, 0]
    """

    left: Mapping[int, int | float]
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check what can be checked before a model is known, and freeze the mapping in the order of layers."""
        if not isinstance(self.left, Mapping):
            raise ValueError(f"left must map layers to counts or shares, as in {{3: 0.5}}; got {self.left!r}.")
        for layer, amount in self.left.items():
            check_entry(layer, amount)
        ordered = dict(sorted(self.left.items()))
        for counted in (True, False):  # an int and a share can be compared only when the prompt is known
            check_falling({k: v for k, v in ordered.items() if isinstance(v, Integral) == counted})
        object.__setattr__(self, "left", MappingProxyType(ordered))

    def _key(self) -> tuple:
        # 1 == 1.0 in Python, but one token is not everything.
        return tuple((layer, isinstance(amount, Integral), amount) for layer, amount in self.left.items())

    def __eq__(self, other: object) -> bool:
        """Schedules with the same counts and shares are the same, whatever their labels."""
        return self._key() == other._key() if isinstance(other, Schedule) else NotImplemented

    def __hash__(self) -> int:
        """As `__eq__`."""
        return hash(self._key())

    def __reduce__(self) -> tuple:
        """Pickle as the plain dictionary (a mapping proxy has no pickle of its own)."""
        return Schedule, (dict(self.left), self.label)

    def __repr__(self) -> str:
        """As it would be typed."""
        return f"Schedule({dict(self.left)})"

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers at whose input tokens are dropped, ascending."""
        return tuple(self.left)

    def after(self, n_tokens: int) -> dict[int, int]:
        """Tokens left after the drop of each layer, for a prompt of `n_tokens` vision tokens.

        Raises:
            ValueError: `n_tokens` is negative, or counts grow where an int follows a share or a share an int.

        >>> Schedule({3: 288, 17: 0.25}).after(576)
        {3: 288, 17: 144}
        """
        return tokens_after(self.left, n_tokens)

    def counts(self, n_tokens: int, n_layers: int) -> list[int]:
        """Vision tokens that each of the `n_layers` decoder layers runs on.

        Raises:
            ValueError: a layer of the schedule lies outside the model, or counts grow (see `after`).
        """
        return counts_per_layer(self.left, n_tokens, n_layers)

    def average(self, n_tokens: int, n_layers: int) -> float:
        """The true layer average: the mean of `counts`, every layer counted at the length it ran at.

        >>> Schedule.preset("llava-1.5-7b", 192).average(n_tokens=576, n_layers=32)
        202.8125
        """
        return layer_average(self.left, n_tokens, n_layers)

    def check_layers(self, n_layers: int) -> None:
        """Refuse a schedule that does not fit a model.

        Raises:
            ValueError: a layer lies outside [0, n_layers).
        """
        check_layers(self.left, n_layers)

    @classmethod
    def for_average(cls, average: float, layers: tuple[int, ...], n_tokens: int, n_layers: int) -> Schedule:
        """The schedule whose true layer average is `average` to within one token.

        Each drop leaves the same share r of the tokens before it; r is found by bisection. Where r makes a count jump,
        it jumps by one token, so the layer averages on the two sides of a jump are at most one apart; the nearer wins.

        Raises:
            ValueError: `layers` is empty, repeats a layer or leaves the model; `average` cannot be reached with them.

        >>> schedule = Schedule.for_average(192, layers=(3, 17, 22), n_tokens=576, n_layers=32)
        >>> schedule, schedule.average(576, 32)
        (Schedule({3: 246, 17: 105, 22: 45}), 192.09375)
        """
        left = left_for_average(average, layers, n_tokens, n_layers)
        return cls(left, label=f"layer average {layer_average(left, n_tokens, n_layers):.1f} of {n_tokens}")

    @classmethod
    def for_final(cls, final: int, layers: tuple[int, ...], n_tokens: int, n_layers: int) -> Schedule:
        """The schedule that leaves `final` tokens after its last layer, each drop the same share of those before it.

        Raises:
            ValueError: `layers` is empty, repeats a layer or leaves the model; `final` is no count of these tokens.

        >>> schedule = Schedule.for_final(72, layers=(8, 16, 24), n_tokens=576, n_layers=32)
        >>> schedule, schedule.average(576, 32)
        (Schedule({8: 288, 16: 144, 24: 72}), 270.0)
        """
        left = left_for_final(final, layers, n_tokens, n_layers)
        average = layer_average(left, n_tokens, n_layers)
        return cls(left, label=f"{final} of {n_tokens} in the end, layer average {average:.1f}")

    @classmethod
    def preset(cls, model: str, budget: int) -> Schedule:
        """What a paper or a released code does; `label` says which, and its true layer average.

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
        average = layer_average(preset.left, preset.n_tokens, preset.n_layers)
        of = f"of {preset.n_tokens} tokens over {preset.n_layers} layers"
        return cls(preset.left, label=f"{preset.source}: true layer average {average:.1f} {of}")
