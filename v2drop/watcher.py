"""What a method notes of a model's own computation, beside the states that every method is shown."""

from __future__ import annotations

from typing import Any, ClassVar

from v2drop.models import Parts
from v2drop.types import Columns, Flags


class Watcher:
    """Notes nothing. A method that needs more gives a watcher of its own, one for each `with`.

    Class attributes:
        reads_cache: it reads what the cache holds.
    """

    reads_cache: ClassVar[bool] = False

    def hooks(self, parts: Parts, layers: tuple[int, ...]) -> list[Any]:
        """Hook what is to be noted.

        Args:
            parts: of the model.
            layers: at whose inputs tokens are dropped.

        Returns:
            The handles, which are removed when the `with` ends.
        """
        return []

    def enter(self, vision: Flags, present: Flags) -> None:
        """A prompt enters layer 0: which columns are vision tokens, which are no padding."""

    def narrow(self, columns: Columns) -> None:
        """Only these columns of the sequence go on."""

    def forget(self) -> None:
        """A forward pass has ended: let go of all tensors."""
