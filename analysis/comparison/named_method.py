"""A method from plain words and numbers: its name, its options, and one way of saying how many tokens are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from analysis.statistics.lists import numbers
from v2drop import METHODS, Composed, Method, Schedule
from v2drop.arguments import one_of

FINE = 10_000  # tokens of the prompt that shares are solved for, where prompts have different numbers


def named_method(
    method: str | Mapping[str, str],
    options: Mapping[str, Any],
    n_tokens: int,
    n_layers: int,
    *,
    average: float | int | None = None,
    layers: Sequence[int] | None = None,
    depths: Sequence[float] | None = None,
    left: Mapping[int, float | int] | Mapping[str, float | int] | None = None,
    as_shares: bool = False,
) -> Method:
    """The method that plain words and numbers describe, as a file or a command line holds them.

    Args:
        method: A name in `v2drop.METHODS`, or names by the layer (as text) from which each drops.
        options: Further arguments of the method, by name.
        n_tokens: The number of the prompt's vision tokens.
        n_layers: The number of decoder layers.
        average: The true layer average of vision tokens, an int for their number or a float for their share of the
            prompt's; None where `left` is given.
        layers: The drop layers of `average`.
        depths: Or their depths, shares of the decoder's layers, rounded. Without both, the method's own layers
            (`Method.for_average`).
        left: The tokens or the share of them that is left from each drop layer on, by layer.
        as_shares: Whether the schedule of an average holds shares, for prompts of different lengths.

    Raises:
        ValueError: A name or an option is none, a schedule is told twice or not at all, or the average cannot be
            reached.
    """
    check_ways(average, layers, depths, left)
    kind = _kind(method)
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    if left is not None:
        return kind(Schedule({int(layer): amount for layer, amount in left.items()}), **options)
    tokens = round(average * n_tokens) if isinstance(average, float) else average
    if layers is not None or depths is not None:
        drops = tuple(layers or [round(depth * n_layers) for depth in numbers("depths", depths, 0, 1)])
    elif isinstance(method, Mapping):
        raise ValueError(f"composed methods need layers, depths or left; got the average {average} alone.")
    else:
        drops = kind.drop_layers(n_layers)
    schedule = Schedule.for_average(tokens, drops, n_tokens, n_layers)
    if as_shares:
        schedule = Schedule({layer: amount / n_tokens for layer, amount in schedule.left.items()})
    return kind(schedule, **options)


def check_ways(average: Any, layers: Any, depths: Any, left: Any) -> None:
    """Refuse a schedule that is told twice, or not at all.

    Args:
        average: As for `named_method`, as are the others.
        layers: The drop layers.
        depths: Their depths.
        left: What is left by layer.

    Raises:
        ValueError: There is neither average nor left, there are both, or what does not belong to them.
    """
    ways = [average is not None, left is not None, layers is not None, depths is not None]
    if sum(ways[:2]) != 1 or sum(ways[1:]) > 1:
        raise ValueError(
            f"a method needs average, with layers or depths or neither, or else left; got average {average}, layers "
            f"{layers}, depths {depths}, left {left}."
        )


def _kind(method: str | Mapping[str, str]) -> Any:
    """The class of a method, or what makes composed ones."""
    if not isinstance(method, Mapping):
        return METHODS[one_of("method", method, METHODS)]
    parts = {int(layer): METHODS[one_of("each method", name, METHODS)] for layer, name in method.items()}
    return partial(Composed, methods=parts)
