"""What may stand in a schedule."""

import math
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
