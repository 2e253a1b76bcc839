"""The argument `loaded`, which most functions of `analysis` take."""

from __future__ import annotations

from typing import Any

from analysis.models.loaded import Loaded
from analysis.models.text import LoadedText


def check_loaded(loaded: Any) -> None:
    """Refuse anything but a model with its processor, before anything runs.

    Args:
        loaded: What a user gave for it.

    Raises:
        ValueError: It is no `Loaded`.
    """
    if not isinstance(loaded, Loaded):
        raise ValueError(
            "loaded must be a model with its processor, as analysis.load gives it; got a "
            f"{type(loaded).__name__}. Loaded(name, model, processor) makes one of a model of your own."
        )


def check_text_model(loaded: Any) -> None:
    """Refuse anything but a text model with its tokenizer.

    Args:
        loaded: What a user gave for it.

    Raises:
        ValueError: It is no `LoadedText`.
    """
    check_loaded(loaded)
    if not isinstance(loaded, LoadedText):
        raise ValueError(
            f"loaded must be a text model, as load('smollm2') gives it; got one of type {loaded.family!r}."
        )
