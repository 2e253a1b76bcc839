"""One thread at a time: which thread runs the model of a `with`, from its first hook to its last.

A run is a call of `generate`, or of a module in which a hook sits, with all calls inside it. A second thread is refused
while a run is going on, and leaving the `with` waits for it, because without the hooks it would go on as another run.
"""

from __future__ import annotations

import logging
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
        self._modules: list[nn.Module] = []  # those with hooks
        self._closed = False
        self._clean_up = clean_up

    def begin(self, call: object) -> None:
        """Note the begin of a call.

        Args:
            call: the module that is called, or any other object that tells calls apart.

        Raises:
            ValueError: another thread's run is going on, or the `with` was left.
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
            self._forget(call)  # an interrupt (KeyboardInterrupt) ended it without a note
            self._calls.append(call)

    def end(self, call: object) -> None:
        """Note the end of a call; nothing happens if its begin was refused."""
        with self._changed:
            if self._thread is not current_thread():
                return
            self._forget(call)
            if self._calls:
                return
            self._thread = None
            self._changed.notify_all()
            if self._closed:
                self._clean_up()

    def runs_here(self) -> bool:
        """Whether a run is going on in the current thread."""
        return bool(self._calls) and self._thread is current_thread()

    @contextmanager
    def run(self, call: object) -> Iterator[None]:
        """A `with` around a call."""
        self.begin(call)
        try:
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
                    self._clean_up()

    def _wait(self) -> None:
        if self._changed.wait_for(self._is_idle, timeout=WARN_AFTER):
            return
        _log.warning("leaving a dropping `with` waits for a run in another thread (%s)", self._thread.name)
        while not self._is_idle():
            self._changed.wait(1.0)  # a thread that dies gives no notice

    def _is_idle(self) -> bool:
        return self._thread in (None, current_thread()) or not self._thread.is_alive()

    def _forget(self, call: object) -> None:
        if call in self._calls:
            del self._calls[self._calls.index(call) :]

    def hooks(self, module: nn.Module) -> list[Any]:
        """Hook a module so that its calls are runs; the handles are returned.

        To be called after all other hooks of the `with` were installed: a run begins before them and ends after them.
        """
        self._modules.append(module)
        return [
            module.register_forward_pre_hook(self._before, prepend=True),
            module.register_forward_hook(self._after, always_call=True),
        ]

    def _before(self, module: nn.Module, args: tuple) -> None:
        if not any(module is hooked for hooked in self._modules):
            refuse_copy()
        self.begin(module)

    def _after(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.end(module)


def refuse_copy(*_: Any, **__: Any) -> NoReturn:
    """Refuse a copy of the model.

    Raises:
        ValueError: always.
    """
    raise ValueError("this model was copied inside a dropping `with`, hooks and all; copy it outside.")
