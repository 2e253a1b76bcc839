"""Solvers: counts by drop layer that give a true layer average or a final count."""

from __future__ import annotations

from collections.abc import Iterable

from v2drop.arguments import number, whole_number, whole_numbers
from v2drop.budgets.counting import check_layers, layer_average, share_of


def left_for_average(average: float, layers: Iterable[int], n_tokens: int, n_layers: int) -> dict[int, int]:
    """Counts by drop layer whose true layer average is `average` to within one token (`Schedule.for_average`).

    Raises:
        ValueError: `average` is not a number; `layers` is empty, repeats a layer or lies outside the model; no counts
            at these layers give `average`.
    """
    average, n_tokens = number("average", average), whole_number("n_tokens", n_tokens, 0)
    layers = whole_numbers("layers", layers, 0)
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
        too_few = layer_average(_geometric_counts(layers, middle, n_tokens), n_tokens, n_layers) < average
        low, high = (middle, high) if too_few else (low, middle)
    solutions = [_geometric_counts(layers, ratio, n_tokens) for ratio in (low, high)]
    return min(solutions, key=lambda left: abs(layer_average(left, n_tokens, n_layers) - average))


def left_for_final(final: int, layers: Iterable[int], n_tokens: int, n_layers: int) -> dict[int, int]:
    """Counts by drop layer, each the same share of the count before, the last `final` (`Schedule.for_final`).

    Raises:
        ValueError: `layers` is empty, repeats a layer or lies outside the model; `final` is not an int from 0 to
            `n_tokens`.
    """
    n_tokens = whole_number("n_tokens", n_tokens, 0)
    final = whole_number("final", final, 0, n_tokens)
    layers = whole_numbers("layers", layers, 0)
    check_layers(layers, whole_number("n_layers", n_layers, 1))
    ratio = (final / n_tokens) ** (1 / len(layers)) if n_tokens else 1.0
    return _geometric_counts(layers, ratio, n_tokens)


def _geometric_counts(layers: tuple[int, ...], ratio: float, n_tokens: int) -> dict[int, int]:
    return {layer: share_of(ratio**i, n_tokens) for i, layer in enumerate(layers, start=1)}
