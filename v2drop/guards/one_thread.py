"""One thread at a time: which thread runs the model of a `with`, from its first hook to its last.

A run is a call of `generate`, or of a module in which a hook sits, with all calls inside it. A second thread is refused
while a run is going on, and leaving the `with` waits for it, because without the hooks it would go on as another run. A
run inside a forward pass, by a hook of the user's, is refused too: the two would share the notes of one pass.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread, current_thread
from typing import Any, NoReturn, Self

from torch import nn

WARN_AFTER = 10.0  # seconds of waiting for a run

_log = logging.getLogger(__name__)


class NotPickled:
    """Base class of what belongs to a `with`: a copied model shares it, and a model that has it cannot be pickled."""

    def __deepcopy__(self, memo: dict) -> Self:
        """Return this object itself: a copied model keeps its hooks, which refuse the copy's calls."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "a model inside a dropping `with` cannot be pickled (torch.save, multiprocessing): its hooks belong to "
            "this process. Leave the `with` first, or save model.state_dict() or model.save_pretrained(folder)."
        )


class OneThread(NotPickled):
    """The run of one `with` that is going on, and the thread it is in.

    Args:
        clean_up: called when the last run ends after a wait for it was interrupted.
    """

    def __init__(self, clean_up: Callable[[], None]) -> None:
        """Start with no run."""
        self._changed = Condition()
        self._thread: Thread | None = None
        self._calls: list[object] = []  # calls that are going on, each inside the one before
        self._depths: dict[object, int] = {}  # of the modules with hooks
        self._refused: object = None  # the call that was refused inside another one, until it has ended
        self._closed = False
        self._clean_up: Callable[[], None] | None = clean_up  # None afterwards: it holds the model

    def begin(self, call: object) -> None:
        """Note the begin of a call.

        Args:
            call: the module that is called, or any other object that tells calls apart.

        Raises:
            ValueError: another thread's run is going on, the `with` was left, or a hook makes the call.
        """
        with self._changed:
            if self._closed:
                raise ValueError(
                    "this run belongs to a dropping `with` that was left, perhaps before a thread came to it, and "
                    "cannot go on without it; wait for it inside the `with`."
                )
            if not self._is_idle():
                raise ValueError(
                    f"another thread runs this model inside the same `with` ({self._thread.name}); use one model for "
                    "each thread."
                )
            if self._thread is not current_thread():
                self._thread, self._calls = current_thread(), []
            self._refused = None
            self._check_depth(call)
            self._calls.append(call)

    def _check_depth(self, call: object) -> None:
        """Refuse a call inside that of a module which does not make such calls.

        Raises:
            ValueError: a hook of the user's makes it.
        """
        depth = self._depths.get(call, 0)
        for outer in [each for each in self._calls if self._depths.get(each, -1) >= depth]:
            if _calls_going_on(outer) > (outer is call):
                self._refused = call
                raise ValueError(
                    f"the model is run by a hook inside a forward pass of its {type(outer).__name__}; inside a "
                    "dropping `with` that would end the pass. Run it before or afterwards."
                )
            self._calls.remove(outer)  # an interrupt (KeyboardInterrupt) ended it without a note

    def end(self, call: object) -> None:
        """Note the end of a call; nothing happens if its begin was refused."""
        with self._changed:
            if self._thread is not current_thread():
                return
            if call is self._refused:
                self._refused = None
                return
            if call in self._calls:  # the latest, with calls inside it that an interrupt ended without a note
                del self._calls[len(self._calls) - 1 - self._calls[::-1].index(call) :]
            if self._calls:
                return
            self._thread = None
            self._changed.notify_all()
            if self._closed:
                self._finish()

    def runs_here(self) -> bool:
        """Whether a run is going on in the current thread, and the latest call was not refused."""
        return bool(self._calls) and self._thread is current_thread() and self._refused is None

    @contextmanager
    def run(self, call: object) -> Iterator[None]:
        """A `with` around a call."""
        try:
            self.begin(call)
            yield
        finally:
            self.end(call)

    def close(self) -> None:
        """Wait for another thread's run and clean up; no run can begin afterwards.

        If the wait is interrupted, the run gets an error at its next hook, and cleans up when it ends.
        """
        with self._changed:
            try:
                self._wait()
            finally:
                self._closed = True
                if self._is_idle():
                    self._finish()

    def _finish(self) -> None:
        clean_up, self._clean_up = self._clean_up, None
        if clean_up is not None:
            clean_up()

    def _wait(self) -> None:
        if self._changed.wait_for(self._is_idle, timeout=WARN_AFTER):
            return
        _log.warning("leaving a dropping `with` waits for a run in another thread (%s)", self._thread.name)
        while not self._is_idle():
            self._changed.wait(1.0)  # a thread that dies gives no notice

    def _is_idle(self) -> bool:
        return self._thread in (None, current_thread()) or not self._thread.is_alive()

    def hooks(self, module: nn.Module, depth: int) -> list[Any]:
        """Hook a module so that its calls are runs; the handles are returned.

        To be called after all other hooks of the `with` were installed: a run begins before them and ends after them.

        Args:
            module: the module.
            depth: 0 or more; a module may be called inside the calls of modules of lower depth only.
        """
        self._depths[module] = depth
        return [
            module.register_forward_pre_hook(self._before, prepend=True),
            module.register_forward_hook(self._after, always_call=True),
        ]

    def _before(self, module: nn.Module, args: tuple) -> None:
        if module not in self._depths:
            refuse_copy()
        self.begin(module)

    def _after(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.end(module)


def _calls_going_on(module: object) -> int:
    """Number of calls of a module in this thread, each inside the one before."""
    frame, n_calls = sys._getframe(), 0
    while frame is not None:
        n_calls += frame.f_code is nn.Module.__call__.__code__ and frame.f_locals.get("self") is module
        frame = frame.f_back
    return n_calls


def refuse_copy(*_: Any, **__: Any) -> NoReturn:
    """Refuse a copy of the model.

    Raises:
        ValueError: always.
    """
    raise ValueError("this model was copied inside a dropping `with`, hooks and all; copy it outside.")
