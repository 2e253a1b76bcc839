"""A folder of finished and failed cells, one file each, whole or not there."""

from __future__ import annotations

import gzip
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.studies.identity import Identity
from analysis.studies.provenance import Provenance

SUFFIX = ".json.gz"


class Record(NamedTuple):
    """A cell as its file holds it.

    Attributes:
        study: The study that it was run for.
        identity: What determines its rows.
        provenance: Where they come from.
        rows: The rows; None where the cell failed.
        error: The error's type and message where it failed, else "".
        traceback: The whole traceback, or "".
    """

    study: str
    identity: Identity
    provenance: Provenance
    rows: pd.DataFrame | None
    error: str = ""
    traceback: str = ""


class Store:
    """A folder of cells, each in a file that is named by the hash of all that determines it.

    Args:
        folder: The folder, made at the first write.

    Raises:
        ValueError: It is no path, or the path of a file.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Remember the folder."""
        if not isinstance(folder, (str, os.PathLike)):
            raise ValueError(f"store must be the path of a folder; got {folder!r}.")
        self.folder = Path(folder).expanduser()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"store must be a folder; got the file {str(folder)!r}.")

    def path(self, key: str) -> Path:
        """The file of a cell."""
        return self.folder / f"{key}{SUFFIX}"

    def read(self, key: str) -> Record | None:
        """A cell by the key of its identity; None if it was not run, or its file is damaged."""
        return read_record(self.path(key)) if self.path(key).exists() else None

    def records(self) -> Iterator[Record]:
        """All cells of the folder, whatever they were made with, in the order of their names."""
        found = (read_record(path) for path in sorted(self.folder.glob(f"*{SUFFIX}")))
        return (record for record in found if record is not None)

    def write(self, record: Record) -> None:
        """Write a cell's file, in one step; what is there of the same cell is replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(record.identity.key)
        draft = path.with_suffix(f".{platform.node()}-{os.getpid()}.part")
        told = {
            "study": record.study,
            "identity": record.identity._asdict(),
            "provenance": record.provenance._asdict(),
            "error": record.error,
            "traceback": record.traceback,
            "rows": None if record.rows is None else _columns(record.rows),
        }
        try:
            draft.write_bytes(gzip.compress(json.dumps(told).encode(), mtime=0))
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def clear_drafts(self) -> None:
        """Delete what writers on this machine left when they were killed."""
        mark = f".{platform.node()}-"
        for draft in self.folder.glob("*.part"):
            pid = draft.stem.rpartition(mark)[2]
            if mark in draft.name and pid.isdigit() and not _runs(int(pid)):
                draft.unlink(missing_ok=True)


def read_record(path: Path) -> Record | None:
    """A cell's file; None if it is damaged."""
    try:
        told = json.loads(gzip.decompress(path.read_bytes()))
        rows = None if told["rows"] is None else _frame(told["rows"])
        parts = {"identity": Identity(**told["identity"]), "provenance": Provenance(**told["provenance"]), "rows": rows}
        return Record(**told | parts)
    except (OSError, EOFError, ValueError, KeyError, TypeError):  # of the disk, the zip, the text, or another version
        return None


def with_arguments(record: Record) -> pd.DataFrame:
    """The rows of a finished cell with its arguments as columns in front; lists and dictionaries as text.

    Raises:
        ValueError: The function of the cell returns a column that is named as an argument.
    """
    arguments = record.identity.passed | record.identity.defaulted
    both = [name for name in arguments if name in record.rows.columns]
    if both:
        raise ValueError(f"a cell must not return columns named as its arguments; got {', '.join(both)}.")
    told = {name: as_column(value) for name, value in arguments.items()}
    columns = {name: [value] * len(record.rows) for name, value in told.items()}
    return pd.concat([pd.DataFrame(columns, index=record.rows.index), record.rows], axis=1)


def as_column(value: Any) -> Any:
    """An argument as it stands in a frame: a list as "1, 6, 8", a dictionary as "metric: l2", others as they are.

    >>> as_column([1 / 12, 1, 8]), as_column({"average": 72, "layers": [1, 6]}), as_column({}), as_column(0.5)
    ('0.0833, 1, 8', 'average: 72; layers: 1, 6', '', 0.5)
    """
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_short(each)}" for name, each in value.items())
    return ", ".join(map(_short, value)) if isinstance(value, list) else value


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(as_column(value))


def _columns(rows: pd.DataFrame) -> dict[str, dict]:
    names = [str(column) for column in rows.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"a cell must return different columns; got {names}.")
    return {
        name: {"dtype": str(rows[column].dtype), "values": [_plain(value) for value in rows[column].tolist()]}
        for name, column in zip(names, rows.columns, strict=True)
    }


def _plain(value: Any) -> Any:
    return None if value is None or value is pd.NA or value != value else value


def _frame(columns: dict[str, dict]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(each["values"], dtype=each["dtype"]) for name, each in columns.items()})


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
