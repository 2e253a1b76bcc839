"""What is refused because of the state of a `with`: other models and threads, caches that are not its own."""

from __future__ import annotations

from threading import get_ident
from typing import Any

from torch import Tensor

from v2drop.models.calling import decoder_input


def check_same_model_and_thread(same: bool, busy: int | None) -> None:
    """Refuse a model or a thread that the state of this `with` is not about.

    Raises:
        ValueError: the call comes from a copy of the model, or while another thread runs the model.
    """
    if not same:
        raise ValueError("this model was copied inside a dropping `with`, hooks and all; copy it outside.")
    if busy not in (None, get_ident()):
        raise ValueError("another thread runs this model inside the same `with`; use one model for each thread.")


def check_no_new_vision(placeholders: Tensor | None, past: int) -> None:
    """Refuse image tokens after the start of a prompt.

    Raises:
        ValueError: there are some: a new image on an old cache, a prefill in chunks, or the prompt anew.
    """
    if placeholders is not None and placeholders.shape[1] > 1 and placeholders.any():
        raise ValueError(
            f"image tokens came when the cache already held {past} tokens; a prompt with its images must be "
            "prefilled at once (no prefill_chunk_size, no old cache with a new image; after a drop at layer 0 no old "
            "cache in `generate`, which takes its length for the number of tokens)."
        )


def check_foreign_cache(lengths: list[int], past: int, shortened: bool, masked: bool) -> None:
    """Accept a cache that no prompt of this `with` filled only if it holds whole sequences.

    Raises:
        ValueError: tokens were dropped from it; or `vision_mask` names positions of a prompt that it already holds.
    """
    if shortened or set(lengths) != {past}:
        raise ValueError(
            f"the cache holds {lengths} tokens per layer, and no prompt of this `with` filled it: it was copied, or "
            "made inside another `with`. Run its prompt again."
        )
    if masked:
        raise ValueError(
            f"the cache already holds {past} tokens from outside this `with`, so vision_mask= has no prompt to apply "
            "to. Run the whole prompt inside the `with`."
        )


def check_cache_lengths(lengths: list[int], expected: list[int]) -> None:
    """Refuse the prompt's own cache if something else was done to it.

    Raises:
        ValueError: a layer holds more or fewer tokens than it was given.
    """
    if lengths != expected:
        raise ValueError(
            f"the cache holds {lengths} tokens per layer; after the last prompt of this `with` it must hold "
            f"{expected}. It was changed since. Run the prompt again."
        )


def check_batch_size(kwargs: dict[str, Any], rows: int) -> None:
    """Refuse a batch that changed after the prefill.

    Raises:
        ValueError: it has more or fewer rows than the prompt had.
    """
    if len(decoder_input(kwargs)) != rows:
        got = len(decoder_input(kwargs))
        raise ValueError(f"the prompt had {rows} rows, now there are {got}; run the prompt again.")
