"""Checks of a schedule's entries, the rounding rule, and token counts per layer.

In every function `left` maps a drop layer to the vision tokens left from there on: an int is their number, a float
their share of the prompt's vision tokens.
"""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from v2drop.arguments import whole_number


def checked_entry(layer: Any, amount: Any) -> tuple[int, int | float]:
    """An entry `layer: amount`, in Python's numbers.

    Raises:
        ValueError: the layer is not an int of 0 or more; the amount is neither an int of 0 or more nor a share in
            [0, 1].
    """
    layer = whole_number("a layer", layer, 0)
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise ValueError(f"layer {layer} must keep an int (so many tokens) or a float (a share); got {amount!r}.")
    if isinstance(amount, Integral) and amount < 0:
        raise ValueError(f"layer {layer} must keep 0 tokens or more; got {amount}.")
    if not isinstance(amount, Integral) and not 0 <= amount <= 1:
        raise ValueError(
            f"layer {layer} must keep a share in [0, 1]; got {amount}. For a number of tokens give an int."
        )
    return layer, int(amount) if isinstance(amount, Integral) else float(amount)


def check_falling(left: dict[int, int | float]) -> None:
    """Refuse counts, or shares, that grow with depth.

    Args:
        left: either only counts or only shares, by ascending layer.

    Raises:
        ValueError: an entry is larger than the one before.
    """
    entries = list(left.items())
    for (earlier, before), (layer, after) in zip(entries, entries[1:], strict=False):
        if after > before:
            raise ValueError(
                f"counts may not grow with depth: layer {earlier} keeps {before} and layer {layer} {after}; "
                f"allowed at layer {layer}: 0 to {before}."
            )


def share_of(share: float, n_tokens: int) -> int:
    """Number of tokens in a share of `n_tokens`, rounded down.

    A product less than a millionth below a whole number counts as that number, because 0.29 * 100 is
    28.999999999999996 in floating point. Most released codes round down too; DivPrune's and a fork of FastV's round to
    the nearest.

    >>> share_of(0.9, 100), share_of(0.7, 10), share_of(0.29, 100), share_of(0.5, 577)
    (90, 7, 29, 288)
    """
    return math.floor(share * n_tokens + 1e-6)


def tokens_after(left: Mapping[int, int | float], n_tokens: int, least: int = 0) -> dict[int, int]:
    """Tokens left after each drop, by drop layer, for a prompt of `n_tokens` vision tokens.

    Args:
        left: number or share of tokens left, by drop layer.
        n_tokens: number of the prompt's vision tokens.
        least: number of tokens that a share leaves at least, if the prompt has as many.

    Raises:
        ValueError: `n_tokens` is no int of 0 or more, or counts grow for this prompt; only a mix of ints and shares can
            do that.

    >>> tokens_after({3: 288, 17: 0.25}, 576)
    {3: 288, 17: 144}
    """
    n_tokens = whole_number("n_tokens", n_tokens, 0)
    counts, n_before = {}, n_tokens
    for layer, amount in left.items():
        count = amount if isinstance(amount, int) else max(share_of(amount, n_tokens), least)
        counts[layer] = min(count, n_tokens)
        if counts[layer] > n_before:
            raise ValueError(
                f"counts may not grow with depth: layer {layer} would keep {counts[layer]} "
                f"({amount} of {n_tokens}), but only {n_before} are left by then; allowed: 0 to {n_before}. If a share "
                "of few tokens is to leave one, give Schedule(..., least=1)."
            )
        n_before = counts[layer]
    return counts


def check_layers(layers: Iterable[int], n_layers: int) -> None:
    """Refuse drop layers that a model with `n_layers` decoder layers does not have.

    Raises:
        ValueError: a layer is `n_layers` or more.
    """
    for layer in layers:
        if layer >= n_layers:
            raise ValueError(
                f"layer {layer} is out of range: the model has {n_layers} decoder layers, allowed: 0 to {n_layers - 1}."
            )


def counts_per_layer(left: Mapping[int, int | float], n_tokens: int, n_layers: int, least: int = 0) -> list[int]:
    """Number of vision tokens that each of the `n_layers` decoder layers runs on.

    Raises:
        ValueError: `n_layers` is no int of 1 or more, a drop layer lies outside the model, or as `tokens_after`.
    """
    n_layers = whole_number("n_layers", n_layers, 1)
    check_layers(left, n_layers)
    after = tokens_after(left, n_tokens, least)
    counts = [n_tokens]
    for layer in range(n_layers):
        counts.append(after.get(layer, counts[-1]))
    return counts[1:]


def layer_average(left: Mapping[int, int | float], n_tokens: int, n_layers: int, least: int = 0) -> float:
    """The true layer average: the mean over decoder layers of the vision tokens that each runs on.

    Raises:
        ValueError: as `counts_per_layer`.

    >>> layer_average({3: 288, 17: 144, 22: 1}, n_tokens=576, n_layers=32)
    202.8125
    """
    return sum(counts_per_layer(left, n_tokens, n_layers, least)) / n_layers
