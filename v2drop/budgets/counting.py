"""Checks of a schedule's entries, the rounding rule, and token counts per layer.

In every function `left` maps a drop layer to the vision tokens left from there on: an int is their number, a float
their share of the prompt's vision tokens.
"""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real


def check_entry(layer: object, amount: object) -> None:
    """Refuse an entry `layer: amount` that is invalid for every model.

    Raises:
        ValueError: the layer is not an int of 0 or more; the amount is neither an int of 0 or more nor a share in
            [0, 1].
    """
    if not isinstance(layer, Integral) or isinstance(layer, bool) or layer < 0:
        raise ValueError(f"a layer must be an int of 0 or more; got {layer!r}.")
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise ValueError(f"layer {layer} must keep an int (so many tokens) or a float (a share); got {amount!r}.")
    if isinstance(amount, Integral) and amount < 0:
        raise ValueError(f"layer {layer} must keep 0 tokens or more; got {amount}.")
    if not isinstance(amount, Integral) and not 0 <= amount <= 1:
        raise ValueError(
            f"layer {layer} must keep a share in [0, 1]; got {amount}. For a number of tokens give an int."
        )


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


def tokens_after(left: Mapping[int, int | float], n_tokens: int) -> dict[int, int]:
    """Tokens left after each drop, by drop layer, for a prompt of `n_tokens` vision tokens.

    Raises:
        ValueError: `n_tokens` is negative, or counts grow for this prompt; only a mix of ints and shares can do that.

    >>> tokens_after({3: 288, 17: 0.25}, 576)
    {3: 288, 17: 144}
    """
    if n_tokens < 0:
        raise ValueError(f"n_tokens must be 0 or more; got {n_tokens}.")
    counts, n_before = {}, n_tokens
    for layer, amount in left.items():
        is_count = isinstance(amount, Integral)
        counts[layer] = min(int(amount), n_tokens) if is_count else share_of(amount, n_tokens)
        if counts[layer] > n_before:
            raise ValueError(
                f"counts may not grow with depth: layer {layer} would keep {counts[layer]} "
                f"({amount} of {n_tokens}), but only {n_before} are left by then; allowed: 0 to {n_before}."
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


def counts_per_layer(left: Mapping[int, int | float], n_tokens: int, n_layers: int) -> list[int]:
    """Number of vision tokens that each of the `n_layers` decoder layers runs on.

    Raises:
        ValueError: `n_layers` is less than 1, a drop layer lies outside the model, `n_tokens` is negative, or counts
            grow (`tokens_after`).
    """
    if n_layers < 1:
        raise ValueError(f"n_layers must be 1 or more; got {n_layers}.")
    check_layers(left, n_layers)
    after = tokens_after(left, n_tokens)
    counts = [n_tokens]
    for layer in range(n_layers):
        counts.append(after.get(layer, counts[-1]))
    return counts[1:]


def layer_average(left: Mapping[int, int | float], n_tokens: int, n_layers: int) -> float:
    """The true layer average: the mean over decoder layers of the vision tokens that each runs on.

    Raises:
        ValueError: as `counts_per_layer`.

    >>> layer_average({3: 288, 17: 144, 22: 1}, n_tokens=576, n_layers=32)
    202.8125
    """
    return sum(counts_per_layer(left, n_tokens, n_layers)) / n_layers
