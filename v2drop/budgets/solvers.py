"""Solvers: which counts give a true layer average, or a final count."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real

from v2drop.budgets.counting import check_layers, layer_average, share_of


def left_for_average(average: float, layers: Iterable[int], n_tokens: int, n_layers: int) -> dict[int, int]:
    """Counts by drop layer whose true layer average is `average` to within one token (`Schedule.for_average`).

    Raises:
        ValueError: `layers` is empty, repeats a layer or leaves the model; `average` cannot be reached with them.
    """
    if not isinstance(average, Real):
        raise ValueError(f"average must be a number of tokens; got {average!r}.")
    layers = _checked(layers)
    least = layer_average(dict.fromkeys(layers, 0), n_tokens, n_layers)
    if not least <= average <= n_tokens:
        raise ValueError(
            f"an average of {average} cannot be reached by dropping at layers {layers} of {n_layers}: "
            f"allowed: {least:g} (nothing left after layer {layers[0]}) to {n_tokens} (nothing dropped). "
            "Drop at an earlier layer to go lower."
        )
    low, high = 0.0, 1.0
    for _ in range(60):  # 2^-60 is far below the resolution of a count
        middle = (low + high) / 2
        short = layer_average(_geometric(layers, middle, n_tokens), n_tokens, n_layers) < average
        low, high = (middle, high) if short else (low, middle)
    around = [_geometric(layers, ratio, n_tokens) for ratio in (low, high)]
    return min(around, key=lambda left: abs(layer_average(left, n_tokens, n_layers) - average))


def left_for_final(final: int, layers: Iterable[int], n_tokens: int, n_layers: int) -> dict[int, int]:
    """Counts by drop layer that end with `final` tokens, each the same share of the one before (`Schedule.for_final`).

    Raises:
        ValueError: `layers` is empty, repeats a layer or leaves the model; `final` is no count of these tokens.
    """
    if not isinstance(final, Integral) or not 0 <= final <= n_tokens:
        raise ValueError(f"final must be an int from 0 to the {n_tokens} tokens there are; got {final!r}.")
    layers = _checked(layers)
    check_layers(layers, n_layers)
    ratio = (final / n_tokens) ** (1 / len(layers)) if n_tokens else 1.0
    return _geometric(layers, ratio, n_tokens)


def _checked(layers: Iterable[int]) -> tuple[int, ...]:
    layers = tuple(sorted(layers)) if isinstance(layers, Iterable) else ()
    if not layers or len(set(layers)) != len(layers):
        raise ValueError(f"layers must be different ints, at least one, as in (3, 17); got {layers}.")
    return layers


def _geometric(layers: tuple[int, ...], ratio: float, n_tokens: int) -> dict[int, int]:
    return {layer: share_of(ratio**i, n_tokens) for i, layer in enumerate(layers, start=1)}
