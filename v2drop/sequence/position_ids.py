"""Position ids of what is left: kept, or gaps closed, in all layers or by a rule of layers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from v2drop.arguments import whole_numbers

Positions = Literal["keep", "repack"] | tuple[int, ...]


def checked_positions(positions: Any) -> Positions:
    """What the user says of position ids: "keep", "repack", or ascending layers that keep them.

    Raises:
        ValueError: it is neither one of the two words nor a collection of different ints of 0 or more.

    >>> checked_positions(range(7, 10)), checked_positions("keep"), checked_positions(())
    ((7, 8, 9), 'keep', 'repack')
    """
    if isinstance(positions, str) and positions in ("keep", "repack"):
        return positions
    if not isinstance(positions, Collection) or isinstance(positions, str):
        raise ValueError(
            'positions must be "keep", "repack", or the layers in which position ids are kept, as range(7, 22); got '
            f"{positions!r}."
        )
    return tuple(sorted(whole_numbers("positions", positions, 0))) if len(positions) else "repack"


def check_within(positions: Positions, n_layers: int) -> None:
    """Refuse a rule of layers that a model with `n_layers` decoder layers does not have.

    Raises:
        ValueError: a layer is `n_layers` or more.
    """
    outside = [layer for layer in positions if layer >= n_layers] if isinstance(positions, tuple) else []
    if outside:
        raise ValueError(
            f'positions must be "keep", "repack", or layers of the model, which has {n_layers}: 0 to {n_layers - 1}; '
            f"got {outside}."
        )


def repacks_at(positions: Positions, layer: int) -> bool:
    """Whether a layer runs with the gaps in its position ids closed.

    >>> repacks_at("repack", 3), repacks_at((3, 4), 3), repacks_at((3, 4), 5)
    (True, False, True)
    """
    return positions == "repack" or (positions != "keep" and layer not in positions)
