"""Checks of arguments, for both packages: whole numbers, numbers, shares, seeds, flags and names.

Every check returns the value as plain Python, so that numpy's numbers go on as Python's, and raises a ValueError that
says what is allowed and what was given. A bool is no number here, and no number is turned into another one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

LARGEST_SEED = 2**32 - 1  # torch takes 32 bits of a seed on a CPU: larger ones would draw what smaller ones draw


def whole_number(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """The int that an argument is.

    Args:
        name: the argument, as the user wrote it.
        value: its value, an int of Python or numpy.
        least: smallest allowed value; None: no bound.
        most: largest allowed value; None: no bound.

    Raises:
        ValueError: `value` is no int, or lies outside the bounds.

    >>> whole_number("layer", np.int64(3), least=0)
    3
    >>> whole_number("layer", 1.0, least=0)
    Traceback (most recent call last):
    ValueError: layer must be an int of 0 or more; got 1.0.
    """
    allowed = isinstance(value, Integral) and not isinstance(value, bool)
    if not allowed or not _within(value, least, most):
        raise ValueError(f"{name} must be an int{_bounds(least, most)}; got {_shown(value)}.")
    return int(value)


def number(name: str, value: Any, least: float | None = None, most: float | None = None) -> float:
    """The finite number that an argument is; an int stays one.

    Args:
        name: the argument, as the user wrote it.
        value: its value, a number of Python or numpy.
        least: smallest allowed value; None: no bound.
        most: largest allowed value; None: no bound.

    Raises:
        ValueError: `value` is no number, is NaN or infinite, or lies outside the bounds.

    >>> number("width", float("nan"), least=0)
    Traceback (most recent call last):
    ValueError: width must be a finite number of 0 or more; got nan.
    """
    allowed = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not allowed or not _within(value, least, most):
        raise ValueError(f"{name} must be a finite number{_bounds(least, most)}; got {_shown(value)}.")
    return int(value) if isinstance(value, Integral) else float(value)


def share(name: str, value: Any) -> float:
    """The share in [0, 1] that an argument is.

    Raises:
        ValueError: `value` is no number from 0 to 1.
    """
    return float(number(name, value, 0, 1))


def seed_number(value: Any, name: str = "seed") -> int:
    """The seed that an argument is, an int from 0 to `LARGEST_SEED`.

    Raises:
        ValueError: `value` is no such int.
    """
    return whole_number(name, value, 0, LARGEST_SEED)


def flag(name: str, value: Any) -> bool:
    """The bool that an argument is.

    Raises:
        ValueError: `value` is no bool.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False; got {_shown(value)}.")
    return bool(value)


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """The argument itself, if it is one of the allowed values.

    Raises:
        ValueError: it is not.

    >>> one_of("output", "Logits", ("hidden", "logits"))
    Traceback (most recent call last):
    ValueError: output must be one of 'hidden', 'logits'; got 'Logits'.
    """
    allowed = list(allowed)
    if not any(type(value) is type(each) and value == each for each in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {_shown(value)}.")
    return value


def whole_numbers(name: str, values: Any, least: int | None = None, most: int | None = None) -> tuple[int, ...]:
    """The different ints that an argument holds, ascending; at least one.

    Args:
        name: the argument, as the user wrote it.
        values: a list, tuple, range, set, array or tensor of ints, or one int.
        least: smallest allowed value; None: no bound.
        most: largest allowed value; None: no bound.

    Raises:
        ValueError: `values` is no collection, is empty, repeats an int, or holds what `whole_number` refuses.

    >>> whole_numbers("layers", range(3)), whole_numbers("layers", 5), whole_numbers("layers", np.array([4, 1]))
    ((0, 1, 2), (5,), (1, 4))
    """
    if isinstance(values, Integral):
        return (whole_number(name, values, least, most),)
    is_list = isinstance(values, Collection) and not isinstance(values, (str, bytes, dict))
    if not is_list or getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{name} must be a list of different ints{_bounds(least, most)}; got {_shown(values)}.")
    listed = values.tolist() if hasattr(values, "tolist") else values  # a tensor holds tensors
    numbers = [whole_number(f"each of {name}", value, least, most) for value in listed]
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(f"{name} must be different ints{_bounds(least, most)}, at least one; got {_shown(values)}.")
    return tuple(sorted(numbers))


class UnknownNameError(KeyError, ValueError):
    """A key that a table lacks: a KeyError, as of any mapping, and a ValueError, as of any wrong input."""

    __str__ = ValueError.__str__  # KeyError shows its message in quotes


class Named(dict):
    """A dictionary that says which keys there are when it is asked for another.

    Args:
        what: a noun for the keys, such as "method".
        entries: the entries.
    """

    def __init__(self, what: str, entries: dict | Iterable = ()) -> None:
        """Start with the entries."""
        super().__init__(entries)
        self._what = what

    def __missing__(self, key: Any) -> Any:
        """Refuse the key.

        Raises:
            UnknownNameError: always.
        """
        allowed = ", ".join(map(repr, self)) or "none"
        raise UnknownNameError(f"there is no {self._what} {key!r}; there are: {allowed}.")

    def __reduce__(self) -> tuple:
        """Pickle and copy with the noun."""
        return Named, (self._what, dict(self))


def _within(value: Any, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _bounds(least: float | None, most: float | None) -> str:
    if least is None and most is None:
        return ""
    if most is None:
        return f" of {least} or more"
    return f" of at most {most}" if least is None else f" from {least} to {most}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
