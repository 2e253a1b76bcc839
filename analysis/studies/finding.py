"""The studies that are known by name, and those in files of one's own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from analysis.studies.cells.study import Arguments, Study
from v2drop import METHODS
from v2drop.methods.from_file import names_in

MARK = "STUDY"  # what a study is called in its file
ABLATIONS = "analysis.studies.ablations"


def known_studies() -> list[str]:
    """The names of the studies of this package, each the name of its file."""
    return sorted(path.stem for path in Path(__file__).with_name("ablations").glob("[a-z]*.py"))


def study_of(name: str) -> Study:
    """A study by its name, or from a file of one's own that holds it as STUDY.

    Workers of dask on other machines import that file by its name, too: its folder must be on their PYTHONPATH.

    Raises:
        ValueError: There is no such name, or the file is not there or holds no study.
    """
    if name in known_studies():
        return getattr(import_module(f"{ABLATIONS}.{name}"), MARK)
    path = Path(name).resolve()
    if path.suffix != ".py" or not path.is_file() or not path.stem.isidentifier():
        raise ValueError(
            f"study must be one of {', '.join(known_studies())}, or a Python file of an importable name; got {name!r}."
        )
    if str(path.parent) not in sys.path:  # worker processes import the file again, by its name
        sys.path.insert(0, str(path.parent))
    module = import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path:
        raise ValueError(
            f"study must be a file whose name no other module has; got {name!r}, {module.__name__} is one."
        )
    found = getattr(module, MARK, None)
    if not isinstance(found, Study):
        raise ValueError(f"{name} must hold a Study named {MARK}; got {found!r}.")
    return found


def asking_also(study: Study, methods: Sequence[str]) -> Study:
    """The study with some methods asked wherever it asks random dropping alone; as it is if it names one of them.

    One that drops before the language model is asked at each average, at layer 0, whatever the layers are.

    Args:
        study: The study, of cells that are asked as `ask` is.
        methods: Names in `v2drop.METHODS`.

    Raises:
        ValueError: The study names none of them, nor random dropping.
    """
    if not methods or any(names_in(cell, methods) for cell in study.cells):
        return study
    where = [cell for cell in study.cells if cell.get("method") == "random"]
    more = [each for method in methods for each in _of_method(method, where)]
    if not more:
        raise ValueError(
            f"{study.name!r} must ask {' or '.join(map(repr, methods))}, or 'random', whose place they take; it does "
            "not."
        )
    return Study(**{**vars(study), "cells": [*study.cells, *more]})


def _of_method(name: str, cells: Iterable[Arguments]) -> list[Arguments]:
    asked = [cell | {"method": name} for cell in cells]
    if not METHODS[name].before_llm:
        return asked
    anywhere = [{key: value for key, value in cell.items() if key not in ("layers", "depths")} for cell in asked]
    return _different(cell for cell in anywhere if "average" in cell)


def changed(study: Study, model: str | None = None, limit: int | None = None) -> Study:
    """The study on another model, or on fewer questions.

    Args:
        study: The study, whose cells have the arguments subject, first and n if they are to be changed.
        model: The subject of all cells; None for those of the study.
        limit: The number of questions; None for all of them.

    Raises:
        ValueError: The cells have no such argument.
    """
    cells = [dict(cell) for cell in study.cells]
    wanted = {"subject": model, "n": limit}
    for name, value in wanted.items():
        if value is not None and not all(name in cell for cell in cells):
            raise ValueError(
                f"the cells of {study.name!r} must all have the argument {name!r} to be changed; they have none."
            )
    if model is not None:
        cells = [cell | {"subject": model} for cell in cells]
    if limit is not None:
        firsts = [cell.get("first", 0) for cell in cells]
        cells = [cell | {"n": min(cell["n"], limit - first)} for cell, first in zip(cells, firsts, strict=True)]
        cells = [cell for cell in cells if cell["n"] > 0]
    return Study(**{**vars(study), "cells": _different(cells)})


def _different(cells: Iterable[Arguments]) -> list[Arguments]:
    return list({str(sorted(cell.items(), key=lambda item: item[0])): cell for cell in cells}.values())
