"""Methods in a Python file of one's own: read, and entered in `METHODS` for the rest of this process."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from v2drop.methods import METHODS
from v2drop.methods.base import Method

WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where a word of a class name begins


class MethodFile(NamedTuple):
    """A file as it was read.

    Attributes:
        path: Its path, absolute.
        checksum: SHA-256 of the content that was run, in hexadecimal.
        methods: Its methods by name.
    """

    path: Path
    checksum: str
    methods: dict[str, type[Method]]


_ADDED: dict[Path, MethodFile] = {}


def method_name(class_name: str) -> str:
    """The name of a method in `METHODS`, of the name of its class.

    >>> method_name("MyMethod"), method_name("Long"), method_name("DARTPlus")
    ('my_method', 'long', 'dart_plus')
    """
    return WORDS.sub("_", class_name).lower()


def read_methods(path: str | os.PathLike) -> MethodFile:
    """The methods that a Python file defines: subclasses of `Method` that can be used and begin with no underscore.

    The file is run under a name of its own, so it may be called as any other module. It can import files beside it.

    Args:
        path: The file.

    Raises:
        ValueError: There is no such file, it raises something, or it defines no method that can be used.

    >>> read_methods("nowhere.py")
    Traceback (most recent call last):
    ValueError: a file of methods must be a Python file (.py) that exists; got 'nowhere.py'.
    """
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix != ".py" or not Path(path).expanduser().is_file():
        raise ValueError(f"a file of methods must be a Python file (.py) that exists; got {_shown(path)}.")
    file = Path(path).expanduser().resolve()
    source = file.read_bytes()
    checksum = hashlib.sha256(source).hexdigest()
    module = _run(file, source, checksum)
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Method)]
    own = dict.fromkeys(each for each in found if each.__module__ == module.__name__ and each.__name__[0] != "_")
    methods = {method_name(each.__name__): each for each in own if not inspect.isabstract(each)}
    lacking = [each.__name__ for each in methods.values() if not hasattr(each, "released_schedule")]
    if not methods or lacking:
        wrong = f"{', '.join(lacking)} without released_schedule" if lacking else "none"
        raise ValueError(
            f"{str(file)!r} must define a subclass of v2drop.Method with `score` and `released_schedule`; it has "
            f"{wrong}. `python -m analysis.new_method` writes one to start from."
        )
    return MethodFile(file, checksum, methods)


def add_methods(path: str | os.PathLike) -> list[str]:
    """Enter the methods of a Python file in `METHODS`, by the names of their classes (`MyMethod` is `my_method`).

    They stay there until the process ends. A file that changed since it was added is read again, and its methods take
    the place of the former ones.

    Args:
        path: The file.

    Returns:
        The names of its methods.

    Raises:
        ValueError: As for `read_methods`, or a name is taken by another method.
    """
    known = _ADDED.get(Path(path).expanduser().resolve()) if isinstance(path, (str, os.PathLike)) else None
    if known and known.path.is_file() and hashlib.sha256(known.path.read_bytes()).hexdigest() == known.checksum:
        return list(known.methods)
    file = read_methods(path)
    former = known.methods if known else {}
    taken = [name for name in file.methods if name in METHODS and name not in former]
    if taken:
        raise ValueError(
            f"{str(file.path)!r} must name its classes as no other method; {', '.join(map(repr, taken))} is taken. "
            f"There are: {', '.join(METHODS)}."
        )
    for name in former:
        del METHODS[name]
    METHODS.update(file.methods)
    _ADDED[file.path] = file
    return list(file.methods)


def added_methods() -> dict[str, str]:
    """The methods that were added: name -> SHA-256 of its file."""
    return {name: file.checksum for file in _ADDED.values() for name in file.methods}


def added_files() -> list[str]:
    """The paths of the files that were added, for processes that have to add them too."""
    return [str(path) for path in _ADDED]


def names_in(data: Any, names: Collection[str]) -> set[str]:
    """Those of some names that stand in plain data as a text, or inside its lists and dictionaries."""
    if isinstance(data, str):
        return {data} & set(names)
    parts = [*data, *data.values()] if isinstance(data, dict) else data if isinstance(data, (list, tuple)) else []
    return {name for part in parts for name in names_in(part, names)}


def _run(file: Path, source: bytes, checksum: str) -> ModuleType:
    """The module of exactly this content: a bytecode cache might hold another one of the same size and second."""
    module = ModuleType(f"v2drop_methods_{file.stem}_{checksum[:8]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # last, so that nothing there takes another module's place
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f" in line {lines[-1]}" if lines else ""
        raise ValueError(
            f"{str(file)!r} must run as Python; it raised {type(error).__name__}{where}: {error}"
        ) from error
    return module


def _shown(path: Any) -> str:
    return repr(str(path) if isinstance(path, os.PathLike) else path)
