"""What may stand in a schedule."""

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
