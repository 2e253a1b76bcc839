"""Folders that long work writes to: unusable ones are found first, files are whole, other work is not mixed in."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.progress import progress_bar

TABLES = "question_*.csv.gz"  # one file for each question
PROBE = 1 << 20  # bytes that must fit before the work starts; a page or a table is of that size


def check_writable(option: str, folder: Path) -> None:
    """Make a folder, and make sure that a file can be written there, before the work whose results go there.

    Args:
        option: The argument that names the folder, as the user wrote it.
        folder: The folder; it and its parents are made.

    Raises:
        ValueError: It cannot be made, is a file, is read-only, or has no room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # nameless where the system can: a kill leaves nothing
            probe.write(bytes(PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise ValueError(
            f"{option} must be a folder that can be written to; got {str(folder)!r}: {error.strerror}."
        ) from error


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_checksums(folder: Path, files: Iterable[Path]) -> None:
    """Write `SHA256SUMS` of some files of a folder, as `sha256sum -c` reads it."""
    with written_whole(folder / "SHA256SUMS") as draft:
        draft.write_text("".join(f"{checksum(path)}  {path.name}\n" for path in sorted(files)))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A draft beside a file, which takes the file's place if all of it was written, and goes if not.

    Yields:
        The path of the draft.
    """
    draft = path.with_suffix(".part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def claim(folder: Path, name: str, settings: Mapping[str, str | int | float], started: bool) -> None:
    """Note what work in a folder is made with; refuse to go on with work that was made with something else.

    Args:
        folder: The folder of the work.
        name: The name of the work; its settings stand in `<name>.settings.json`.
        settings: Everything that the results depend on, by name.
        started: Whether the folder holds some of this work already.

    Raises:
        ValueError: It does, made with other settings or with unknown ones.
    """
    path = folder / f"{name}.settings.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    other = [key for key in settings if known.get(key) != settings[key]]
    if started and other:
        said = ", ".join(f"{key} {known.get(key, 'unknown')} (now {settings[key]})" for key in other)
        raise ValueError(
            f"{str(folder)!r} holds the work {name!r} of another run, made with {said}. Use those settings again, name "
            "another folder, or delete this one."
        )
    with written_whole(path) as draft:
        draft.write_text(json.dumps(dict(settings), indent=1) + "\n")


def record_tables(
    folder: Path,
    name: str,
    settings: Mapping[str, str | int | float],
    n_questions: int,
    table_of: Callable[[int], pd.DataFrame],
) -> None:
    """Write the tables of n questions that are not in a folder yet, one compressed file each, then their checksums.

    Args:
        folder: The folder, which can be written to (`check_writable`).
        name: The name of the work, as for `claim`.
        settings: Everything that the tables depend on, by name.
        n_questions: The number of questions.
        table_of: A function from a question's number to its table.

    Raises:
        ValueError: The folder holds tables that were made with other settings.
    """
    claim(folder, name, settings, any(folder.glob(TABLES)))
    for number in progress_bar(range(n_questions), desc="questions", unit="question"):
        path = folder / f"question_{number:03}.csv.gz"
        if not path.exists():
            table = table_of(number)
            zipped = {"method": "gzip", "mtime": 0}  # the same numbers make the same file
            with written_whole(path) as draft:
                table.to_csv(draft, index=False, float_format="%.6g", compression=zipped)
    write_checksums(folder, folder.glob(TABLES))


def read_tables(folder: Any, command: str) -> pd.DataFrame:
    """All tables of a folder in one frame.

    Args:
        folder: The folder as the user gave it.
        command: The module that writes such tables.

    Raises:
        ValueError: The folder is no path, or holds no table.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"folder must be the path of a folder; got {folder!r}.")
    files = sorted(Path(folder).expanduser().glob(TABLES))
    if not files:
        raise ValueError(f"{str(folder)!r} must hold what {command} wrote; it holds no {TABLES}.")
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
