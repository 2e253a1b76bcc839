"""The models of cells: loaded once in each process, and told apart without being loaded."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path

from huggingface_hub import hf_hub_download

from analysis.models.checkpoints import folders
from analysis.models.loaded import Loaded
from analysis.models.loading import load
from analysis.scenes.questions import Questions, sample
from analysis.subjects import SUBJECTS

KNOWN = {"embedded": [folders.EMBEDDED], "smollm2": [folders.SMOLLM2]}
KNOWN["mosaic_smollm2"] = [folders.MOSAIC_SMOLLM2, folders.SMOLLM2]
SET_UP = "`make`, or python -m analysis.models.checkpoints.smollm2,"
WEIGHTS = (".safetensors", ".bin")
READ = (*WEIGHTS, ".json", ".jinja", ".model", ".txt")  # ends of the files that make a checkpoint


def model_of(subject: str) -> Loaded:
    """The model of a subject, loaded at the first call in a process; the last two are kept.

    Args:
        subject: A key of `analysis.SUBJECTS`, or a folder or hub id as `analysis.load` takes it.

    Raises:
        ValueError: As for `analysis.load`.
    """
    return _loaded(subject, model_checksum(subject))


@lru_cache(maxsize=2)
def _loaded(subject: str, checksum: str) -> Loaded:
    return SUBJECTS[subject].load() if subject in SUBJECTS else load(subject)


def questions_of(subject: str, n: int, seed: int) -> Questions:
    """The first n questions that a subject is asked, about pictures for any model that is not in `SUBJECTS`."""
    return SUBJECTS[subject].sample(n, seed) if subject in SUBJECTS else sample(n, "test", seed)


def is_there(subject: str) -> bool:
    """Whether the files of a subject lie in `data/`: SmolLM2 is set up by make, where the package index has it."""
    return all(any(path.glob("*.safetensors")) for path in KNOWN[subject])


def model_checksum(subject: str) -> str:
    """What tells a subject's checkpoint from any other: the SHA-256 of its files, or the commit of a hub id.

    Raises:
        ValueError: There is no such folder, and no such hub id can be reached, or SmolLM2 is not set up.
    """
    if subject in KNOWN and not is_there(subject):
        raise ValueError(f"subject must be set up; {subject!r} is not: {SET_UP} does it where the index has it.")
    paths = KNOWN.get(subject, [Path(subject).expanduser()])
    if subject in KNOWN or paths[0].is_dir():
        files = sorted(file for path in paths for file in path.glob("*") if file.suffix in READ)
        if not any(file.suffix in WEIGHTS for file in files):
            raise ValueError(f"subject must be a folder with weights, {' or '.join(WEIGHTS)}; got {subject!r}.")
        return _digest(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))
    try:  # in the cache of the hub, files lie in a folder named by the commit
        return Path(hf_hub_download(subject, "config.json")).parent.name
    except (OSError, ValueError) as error:
        raise ValueError(
            f"subject must be one of {', '.join(SUBJECTS)}, a folder or a hub id; got {subject!r}: {error}"
        ) from error


@cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """The digest of some files, each with its size and time of change: read again when these change."""
    digest = hashlib.sha256()
    for file, *_ in files:
        with file.open("rb") as opened:
            digest.update(f"{file.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
