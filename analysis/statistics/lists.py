"""Lists that functions are given: names, and numbers within bounds. A single one is a list of one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from numbers import Real
from typing import Any

from v2drop.arguments import number


def names(argument: str, values: Any, least: int = 1) -> tuple[Hashable, ...]:
    """The different names that an argument holds, in its order.

    Args:
        argument: The argument, as the user wrote it.
        values: A name, or names in a list, tuple, index or any other iterable.
        least: The smallest number of names, 0 or 1.

    Raises:
        ValueError: `values` is no such list, is too short, or holds a name twice or what cannot be a name.

    >>> names("by", "method"), names("by", ["method", "budget"])
    (('method',), ('method', 'budget'))
    >>> names("by", ["a", "a"])
    Traceback (most recent call last):
    ValueError: by must be different names, one or more; got ['a', 'a'].
    """
    listed = [values] if isinstance(values, str) else list(values) if isinstance(values, Iterable) else None
    good = listed is not None and all(isinstance(name, Hashable) and name is not None for name in listed)
    if not good or len(set(listed)) < len(listed) or len(listed) < least:
        how_many = ", one or more" if least else ""
        raise ValueError(f"{argument} must be different names{how_many}; got {values if listed is None else listed!r}.")
    return tuple(listed)


def numbers(
    argument: str, values: Any, least: float | int | None = None, most: float | int | None = None
) -> tuple[float | int, ...]:
    """The finite numbers that an argument holds, in its order; an int stays one.

    Args:
        argument: The argument, as the user wrote it.
        values: A number, or numbers in a list, tuple, range, array or any other iterable.
        least: The smallest allowed value; None: no bound.
        most: The largest allowed value; None: no bound.

    Raises:
        ValueError: `values` is no such list, or holds what `v2drop.arguments.number` refuses.

    >>> numbers("budgets", 72), numbers("budgets", (72, 36.5))
    ((72,), (72, 36.5))
    """
    if isinstance(values, Real):
        return (number(argument, values, least, most),)
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise ValueError(f"{argument} must be a list of numbers; got {values!r}.")
    return tuple(number(f"each of {argument}", value, least, most) for value in values)
