"""Rendering a checkpoint's chat template: what goes wrong in it is said in a line, and it does not run for ever."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

SECONDS = 20.0  # longest time for one prompt; a template needs a millisecond, a machine under load more


def rendered(processor: Any, turn: dict) -> str:
    """The text of one user turn, up to the place where the answer begins.

    Args:
        processor: The checkpoint's processor, which has a chat template.
        turn: The turn, as a chat template takes it.

    Raises:
        ValueError: The template is broken, does what is forbidden to it, comes to no end, or writes no text.
    """
    text, error = _within(SECONDS, lambda: processor.apply_chat_template([turn], add_generation_prompt=True))
    if error is None and isinstance(text, str):
        return text
    reason = f"it gives {type(text).__name__} instead of a text"
    if error is not None:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
    if isinstance(error, _TooLongError):
        reason = f"it comes to no end in {SECONDS:g} seconds"
    raise ValueError(
        f"the chat template of this checkpoint fails ({reason}), which is the checkpoint's fault; give it another: "
        "loaded.processor.chat_template = '...' (its model card, or a sibling's chat_template.jinja, has one)."
    )


class _TooLongError(Exception):
    """Raised inside a call that has had its time."""


def _within(seconds: float, call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a call returns, or what it raised; a call that takes longer is ended."""
    found: dict[str, Any] = {}

    def run() -> None:
        try:
            found["value"] = call()
        except Exception as error:
            found["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        # Python's only way to end a loop in another thread: an exception between two of its instructions.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_TooLongError))
        return None, _TooLongError()
    return found.get("value"), found.get("error")
