"""`Study`: a function of one cell, and the arguments of all cells."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pandas as pd

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A function of one cell, and the arguments of all cells.

    Args:
        name: What the study is called; letters, digits, `_` and `-`.
        cell: A function from the arguments of a cell to its rows. It must stand at the top level of a module, where a
            worker process can import it, and depend on nothing but its arguments; what it draws, it draws by a seed
            among them. An argument named `subject` is a model (`analysis.studies.cells.models`).
        cells: The arguments of each cell, such as `grid` makes: plain data (None, truth, numbers, text, and lists and
            dictionaries of these), so that a cell is the same on every machine.
        rows: The arguments that tell apart the rows of the study's table.
        columns: The arguments that tell apart its columns.
        by: The arguments that tell tables apart, one for each.
        caption: What the table shows, in a sentence.

    Raises:
        ValueError: There is no cell, one twice, one that the function does not take, or one that is no plain data.

    >>> Study("sums", lambda a, b=1: pd.DataFrame({"sum": [a + b]}), grid(a=[1, 2]))
    Study('sums', 2 cells)
    """

    name: str
    cell: Callable[..., pd.DataFrame]
    cells: Sequence[Mapping[str, Any]]
    rows: Sequence[str] = ("method",)
    columns: Sequence[str] = ()
    by: Sequence[str] = ("subject",)
    caption: str = ""

    def __post_init__(self) -> None:
        """Check what can be checked before anything runs."""
        if not isinstance(self.name, str) or not self.name.replace("_", "a").replace("-", "a").isalnum():
            raise ValueError(f"name must be letters, digits, '_' and '-'; got {self.name!r}.")
        _check_function(self.cell)
        listed = [] if isinstance(self.cells, (str, Mapping)) else list(self.cells)
        if not listed:
            raise ValueError(f"cells must be a list of dictionaries, one or more; got {self.cells!r}.")
        plain = tuple(plain_data(f"cells[{i}]", cell) for i, cell in enumerate(listed))
        told = [as_text(resolved(self.cell, cell)) for cell in plain]
        if len(set(told)) < len(told):
            twice = next(text for i, text in enumerate(told) if text in told[:i])
            raise ValueError(f"cells must be different; got {twice} twice.")
        object.__setattr__(self, "cells", plain)

    def __repr__(self) -> str:
        """The name and the size."""
        return f"Study({self.name!r}, {len(self.cells)} cells)"

    def only(self, keep: Callable[[Arguments], bool]) -> Study:
        """The study with some of its cells.

        Args:
            keep: A function from the arguments of a cell to whether it stays.

        Raises:
            ValueError: No cell stays.
        """
        return replace(self, cells=[cell for cell in self.cells if keep(dict(cell))])


def grid(**axes: Iterable[Any]) -> list[Arguments]:
    """The arguments of every combination of the axes' values; the last axis changes fastest.

    Grids are lists: `grid(...) + grid(...)` is a study of both.

    Args:
        **axes: The values of each argument.

    Raises:
        ValueError: An axis is no list of values, or an empty one.

    >>> grid(method=["v2drop", "random"], average=[72])
    [{'method': 'v2drop', 'average': 72}, {'method': 'random', 'average': 72}]
    """
    for name, values in axes.items():
        axes[name] = [] if isinstance(values, (str, Mapping)) or not isinstance(values, Iterable) else list(values)
        if not axes[name]:
            raise ValueError(f"{name} must be a list of values, one or more; got {values!r}.")
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _check_function(cell: Any) -> None:
    """Refuse what a worker cannot import, or what depends on more than its arguments."""
    inside = inspect.unwrap(cell) if callable(cell) else None
    if not inspect.isfunction(inside) or "<locals>" in inside.__qualname__:
        raise ValueError(f"cell must be a function at the top level of a module; got {cell!r}.")
    if any(each.kind == each.VAR_KEYWORD for each in inspect.signature(cell).parameters.values()):
        raise ValueError(f"cell must name its arguments, so that their defaults are known; {cell.__name__} has **.")


def resolved(cell: Callable, arguments: Mapping[str, Any]) -> Arguments:
    """The arguments that a function is called with, its defaults among them.

    Raises:
        ValueError: The function does not take them, or a default is no plain data.
    """
    try:
        bound = inspect.signature(cell).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{cell.__name__} must take the arguments of every cell; got {dict(arguments)}: {error}."
        ) from error
    bound.apply_defaults()
    return plain_data(f"defaults of {cell.__name__}", dict(bound.arguments))


def as_text(data: Any) -> str:
    """Plain data as a text that is the same for equal data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain_data(what: str, data: Any) -> Any:
    """The data as JSON gives them back: tuples as lists.

    Args:
        what: What they are, in messages.
        data: What a caller gave.

    Raises:
        ValueError: They are no plain data.
    """
    try:
        found = json.loads(as_text(data))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} must be plain data (numbers, text, lists, dictionaries); got {data!r}: {error}."
        ) from error
    if not _same(found, data):
        raise ValueError(f"{what} must be plain data, with texts as keys; got {data!r}, but JSON has {found!r}.")
    return found


def _same(found: Any, data: Any) -> bool:
    """Whether JSON gave the data back; it makes texts of numbers that are keys."""
    if isinstance(data, Mapping):
        return found.keys() == data.keys() and all(_same(found[key], value) for key, value in data.items())
    if isinstance(data, (list, tuple)):
        return len(found) == len(data) and all(map(_same, found, data))
    return type(found) is type(data) and found == data
