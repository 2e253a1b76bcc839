"""Folders that long work writes to: unusable ones are found first, files are whole, other work is not mixed in."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(bytes(PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise ValueError(
            f"{option} must be a folder that can be written to; got {str(folder)!r}: {error.strerror}."
        ) from error


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
