"""A folder of finished and failed cells, one file each, whole or not there."""

from __future__ import annotations

import gzip
import json
import os
import platform
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.studies.cells.identity import Identity
from analysis.studies.cells.provenance import Provenance
from analysis.studies.cells.rows import columns_of, frame_of

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
            "rows": None if record.rows is None else columns_of(record.rows),
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
        rows = None if told["rows"] is None else frame_of(told["rows"])
        parts = {"identity": Identity(**told["identity"]), "provenance": Provenance(**told["provenance"]), "rows": rows}
        return Record(**told | parts)
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
    ):  # of the disk, the zip, the text, or another version
        return None


def _runs(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
