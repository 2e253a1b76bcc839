"""Names, and lists of names or numbers, that functions are given. A single one is a list of one."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from v2drop.arguments import number


def name(argument: str, value: Any) -> Hashable:
    """The single name that an argument is, as of a column.

    Raises:
        ValueError: It is a list, None, or something else that cannot be a name.

    >>> name("value", ["right"])
    Traceback (most recent call last):
    ValueError: value must be a single name; got ['right'].
    """
    if not isinstance(value, Hashable) or value is None:
        raise ValueError(f"{argument} must be a single name; got {value!r}.")
    return value


def among(argument: str, value: Any, column: Iterable[Hashable]) -> Hashable:
    """The argument itself, if a column holds it.

    Raises:
        ValueError: The column does not.

    >>> among("baseline", "fastv", ["random", "random", 3])
    Traceback (most recent call last):
    ValueError: baseline must be one of random, 3; got 'fastv'.
    """
    truth = isinstance(value, (bool, np.bool_))  # which is equal to 0 or 1
    alike = [each for each in column if isinstance(each, (bool, np.bool_)) == truth]
    if not isinstance(value, Hashable) or value not in set(alike):
        raise ValueError(f"{argument} must be one of {different(column)}; got {value!r}.")
    return value


def different(column: Iterable[Hashable]) -> str:
    """The different values of a column as a text, in the order in which they first occur."""
    return ", ".join(str(each) for each in dict.fromkeys(column))


def names(argument: str, values: Any, least: int = 1, besides: Collection[str] = ()) -> tuple[Hashable, ...]:
    """The different names that an argument holds, in its order.

    Args:
        argument: The argument, as the user wrote it.
        values: A name, or names in a list, tuple, index or any other iterable.
        least: The smallest number of names, 0 or 1.
        besides: Names that it must not hold, since other columns have them.

    Raises:
        ValueError: `values` is no such list, is too short, or holds a name twice or what cannot be a name.

    >>> names("by", "method"), names("by", ["method", "budget"])
    (('method',), ('method', 'budget'))
    >>> names("by", ["a", "a"])
    Traceback (most recent call last):
    ValueError: by must be different names, one or more; got ['a', 'a'].
    >>> names("by", ["method", "mean"], besides=["mean"])
    Traceback (most recent call last):
    ValueError: by must not hold mean, which is the name of another column here; got ['method', 'mean'].
    """
    if not isinstance(values, Iterable) or isinstance(values, bytes):
        listed = None
    else:
        listed = [values] if isinstance(values, str) else _plain_list(values)
    good = listed is not None and all(isinstance(each, Hashable) and each is not None for each in listed)
    if not good or len(set(listed)) < len(listed) or len(listed) < least:
        how_many = ", one or more" if least else ""
        raise ValueError(f"{argument} must be different names{how_many}; got {values if listed is None else listed!r}.")
    taken = [each for each in listed if each in besides]
    if taken:
        raise ValueError(
            f"{argument} must not hold {different(taken)}, which is the name of another column here; got {listed!r}."
        )
    return tuple(listed)


def numbers(
    argument: str,
    values: Any,
    least: float | int | None = None,
    most: float | int | None = None,
    at_least: int = 1,
) -> tuple[float | int, ...]:
    """The different finite numbers that an argument holds, in its order; an int stays one.

    Args:
        argument: The argument, as the user wrote it.
        values: A number, or numbers in a list, tuple, range, array, tensor or any other iterable.
        least: The smallest allowed value; None: no bound.
        most: The largest allowed value; None: no bound.
        at_least: The smallest number of numbers, 0 or 1.

    Raises:
        ValueError: `values` is no such list, is too short, repeats a number, or holds what `v2drop.arguments.number`
            refuses.

    >>> numbers("budgets", 72), numbers("budgets", (72, 36.5))
    ((72,), (72, 36.5))
    """
    if isinstance(values, Real):
        return (number(argument, values, least, most),)
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise ValueError(f"{argument} must be a list of numbers; got {values!r}.")
    listed = _plain_list(values)
    given = tuple(number(f"each of {argument}", value, least, most) for value in listed)
    if len(given) < at_least or len(set(given)) < len(given):
        how_many = ", one or more" if at_least else ""
        raise ValueError(f"{argument} must be different numbers{how_many}; got {listed!r}.")
    return given


def _plain_list(values: Iterable) -> list:
    """What an iterable holds; of arrays, tensors and series the values as Python's own."""
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    return plain if isinstance(plain, list) else [plain]  # an array without axes holds one
