"""What transformers' loaders raise, turned into one line that says what to do; their remarks are silenced."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger

import torch
from transformers import logging

ADVICE = (
    "Give a folder that save_pretrained wrote, or a hub id spelt as on its page (log in for a gated one; unset "
    "HF_HUB_OFFLINE to download); leave V2DROP_MODEL unset for the embedded model, which lies in data/ of a clone."
)
CODE = (
    "it wants to run code of its own repository, which this toolkit does not do. Look for a conversion to "
    "transformers' own classes (often a repository whose name ends in -hf)."
)
PICKLE = (
    "its weights are a pickle that holds more than tensors or is broken; unpickling could run code, so it is not done. "
    "Look for a version with safetensors, or make one where you trust the file."
)


def refusal(name: str, reason: str) -> str:
    """What is said of a checkpoint that cannot be loaded.

    Args:
        name: The folder or hub id.
        reason: Why it cannot, and what to do, in sentences.
    """
    return f"{name!r} cannot be loaded: {reason}".rstrip()


@contextmanager
def in_one_line(name: str, what: str = "", advice: str = ADVICE) -> Iterator[None]:
    """Turn whatever other packages raise about a checkpoint into one line.

    Args:
        name: The folder or hub id.
        what: What is being made of it, up to a colon.
        advice: What to do.

    Raises:
        ValueError: Something else was raised inside; a lack of memory is passed on.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            raise
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
            raise ValueError(refusal(name, PICKLE)) from None
        if "trust_remote_code" in str(error):
            raise ValueError(refusal(name, CODE)) from None
        raise ValueError(refusal(name, f"{what}{reason(error)}. {advice}")) from None


def reason(error: Exception) -> str:
    """The first line of an error without its full stop, under its type's name where the line alone says little."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1]).rstrip(".")
    foreign = not isinstance(error, (OSError, ValueError, ImportError))
    return ": ".join([type(error).__name__] * foreign + [said] * bool(said)) or type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' and accelerate's remarks, and the progress bar of reading weights."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    accelerate = getLogger("accelerate")
    level = accelerate.level
    accelerate.setLevel(ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of reading weights from disk; downloads still show theirs
    try:
        yield
    finally:
        accelerate.setLevel(level)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
