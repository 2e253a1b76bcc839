"""What may stand in a schedule, and the number of tokens that it comes to."""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real


def check_entry(layer: object, amount: object) -> None:
    """Refuse one `layer: amount` that means nothing in any model.

    Raises:
        ValueError: the layer is no int of 0 or more; the amount is neither a count nor a share in [0, 1].
    """
    if not isinstance(layer, Integral) or isinstance(layer, bool) or layer < 0:
        raise ValueError(f"a layer must be an int of 0 or more; got {layer!r}.")
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise ValueError(f"layer {layer} must keep an int (so many) or a float (that share); got {amount!r}.")
    if isinstance(amount, Integral) and amount < 0:
        raise ValueError(f"layer {layer} must keep 0 tokens or more; got {amount}.")
    if not isinstance(amount, Integral) and not 0 <= amount <= 1:
        raise ValueError(
            f"layer {layer} must keep a share in [0, 1]; got {amount}. For a number of tokens give an int."
        )


def check_falling(left: dict[int, int | float]) -> None:
    """Refuse counts, or shares, that grow with depth.

    Raises:
        ValueError: they do.
    """
    entries = list(left.items())
    for (above, before), (layer, after) in zip(entries, entries[1:], strict=False):
        if after > before:
            raise ValueError(
                f"counts may not grow with depth: layer {above} keeps {before} and layer {layer} {after}; "
                f"allowed at layer {layer}: 0 to {before}."
            )


def share_of(share: float, n_tokens: int) -> int:
    """The rounding rule: a share of `n_tokens` is rounded down.

    So do most released codes; a fork of FastV's and DivPrune's round to the nearest.
    A product less than a millionth below a whole number is that number, for 0.29 * 100 is 28.999999999999996.

    >>> share_of(0.9, 100), share_of(0.7, 10), share_of(0.29, 100), share_of(0.5, 577)
    (90, 7, 29, 288)
    """
    return math.floor(share * n_tokens + 1e-6)


def tokens_after(left: Mapping[int, int | float], n_tokens: int) -> dict[int, int]:
    """Tokens left after the drop of each layer, for a prompt of `n_tokens` vision tokens.

    Raises:
        ValueError: `n_tokens` is negative, or counts grow where an int follows a share or a share an int.

    >>> tokens_after({3: 288, 17: 0.25}, 576)
    {3: 288, 17: 144}
    """
    if n_tokens < 0:
        raise ValueError(f"n_tokens must be 0 or more; got {n_tokens}.")
    counts, most = {}, n_tokens
    for layer, amount in left.items():
        counted = isinstance(amount, Integral)
        counts[layer] = min(int(amount), n_tokens) if counted else share_of(amount, n_tokens)
        if counts[layer] > most:
            raise ValueError(
                f"counts may not grow with depth: layer {layer} would keep {counts[layer]} "
                f"({amount} of {n_tokens}), but only {most} are left by then; allowed: 0 to {most}."
            )
        most = counts[layer]
    return counts


def check_layers(layers: Iterable[int], n_layers: int) -> None:
    """Refuse drop layers that a model does not have.

    Raises:
        ValueError: a layer lies outside [0, n_layers).
    """
    for layer in layers:
        if layer >= n_layers:
            raise ValueError(
                f"layer {layer} is out of range: the model has {n_layers} decoder layers, allowed: 0 to {n_layers - 1}."
            )


def counts_per_layer(left: Mapping[int, int | float], n_tokens: int, n_layers: int) -> list[int]:
    """Vision tokens that each of the `n_layers` decoder layers runs on.

    Raises:
        ValueError: a drop layer lies outside the model, or counts grow (see `tokens_after`).
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
    """The true layer average: the mean of `counts_per_layer`, every layer counted at the length it ran at.

    >>> layer_average({3: 288, 17: 144, 22: 1}, n_tokens=576, n_layers=32)
    202.8125
    """
    return sum(counts_per_layer(left, n_tokens, n_layers)) / n_layers
