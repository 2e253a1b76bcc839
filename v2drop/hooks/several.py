"""The hooks of several methods that drop at different layers of one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from v2drop.engine.contract import Hooks
from v2drop.models.parts import ModelParts
from v2drop.types import Columns, Flags


class SeveralHooks(Hooks):
    """The hooks of several methods; all are told of every drop.

    Args:
        hooks: pairs of the layers at which a method drops, and its hooks.
    """

    def __init__(self, hooks: Sequence[tuple[tuple[int, ...], Hooks]]) -> None:
        """Keep them apart."""
        self._hooks = list(hooks)
        self.reads_cache = any(each.reads_cache for _, each in self._hooks)

    def at(self, layer: int) -> Hooks:
        """The hooks of the method that drops at a layer."""
        return next(each for layers, each in self._hooks if layer in layers)

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Install all of them, each for the layers of its method."""
        return [handle for layers, each in self._hooks for handle in each.install(parts, layers)]

    def prefill_begins(self, vision: Flags, not_padding: Flags) -> None:
        """Tell all of them."""
        for _, each in self._hooks:
            each.prefill_begins(vision, not_padding)

    def columns_kept(self, kept: Columns) -> None:
        """Tell all of them."""
        for _, each in self._hooks:
            each.columns_kept(kept)

    def pass_ends(self) -> None:
        """Tell all of them."""
        for _, each in self._hooks:
            each.pass_ends()
