"""Solvers: which counts give a true layer average, or a final count."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING

from v2drop.entries import share_of

if TYPE_CHECKING:
    from v2drop.schedule import Schedule


def for_average(kind: type[Schedule], average: float, layers: Iterable[int], n_tokens: int, n_layers: int) -> Schedule:
    """`Schedule.for_average`."""
    if not isinstance(average, Real):
        raise ValueError(f"average must be a number of tokens; got {average!r}.")
    layers = _checked(layers)
    least = kind(dict.fromkeys(layers, 0)).average(n_tokens, n_layers)
    if not least <= average <= n_tokens:
        raise ValueError(
            f"an average of {average} cannot be reached by dropping at layers {layers} of {n_layers}: "
            f"allowed: {least:g} (nothing left after layer {layers[0]}) to {n_tokens} (nothing dropped). "
            "Drop at an earlier layer to go lower."
        )
    low, high = 0.0, 1.0
    for _ in range(60):  # 2^-60 is far below the resolution of a count
        middle = (low + high) / 2
        short = kind(_geometric(layers, middle, n_tokens)).average(n_tokens, n_layers) < average
        low, high = (middle, high) if short else (low, middle)
    around = [kind(_geometric(layers, ratio, n_tokens)) for ratio in (low, high)]
    found = min(around, key=lambda schedule: abs(schedule.average(n_tokens, n_layers) - average))
    return kind(found.left, label=f"layer average {found.average(n_tokens, n_layers):.1f} of {n_tokens}")


def for_final(kind: type[Schedule], final: int, layers: Iterable[int], n_tokens: int, n_layers: int) -> Schedule:
    """`Schedule.for_final`."""
    if not isinstance(final, Integral) or not 0 <= final <= n_tokens:
        raise ValueError(f"final must be an int from 0 to the {n_tokens} tokens there are; got {final!r}.")
    layers = _checked(layers)
    ratio = (final / n_tokens) ** (1 / len(layers)) if n_tokens else 1.0
    counts = _geometric(layers, ratio, n_tokens)
    average = kind(counts).average(n_tokens, n_layers)
    return kind(counts, label=f"{final} of {n_tokens} in the end, layer average {average:.1f}")


def _checked(layers: Iterable[int]) -> tuple[int, ...]:
    layers = tuple(sorted(layers)) if isinstance(layers, Iterable) else ()
    if not layers or len(set(layers)) != len(layers):
        raise ValueError(f"layers must be different ints, at least one, as in (3, 17); got {layers}.")
    return layers


def _geometric(layers: tuple[int, ...], ratio: float, n_tokens: int) -> dict[int, int]:
    return {layer: share_of(ratio**i, n_tokens) for i, layer in enumerate(layers, start=1)}
