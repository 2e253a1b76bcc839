"""What all forward passes of one `with` share."""

from __future__ import annotations

from dataclasses import dataclass

from v2drop.engine.contract import Dropper, Hooks
from v2drop.engine.trace import Trace
from v2drop.engine.vision_mask import VisionMask
from v2drop.models.parts import ModelParts
from v2drop.sequence.cache_registry import CacheRegistry


@dataclass(frozen=True)
class Session:
    """What all forward passes of one `with` share; made on entry, discarded on exit.

    Attributes:
        method: the method that drops.
        parts: modules of the model.
        vision_mask: the user's `vision_mask`.
        hooks: hooks of the method.
        caches: the prompts of this `with`, by the cache that each filled.
        trace: trace of the latest prompt.
    """

    method: Dropper
    parts: ModelParts
    vision_mask: VisionMask
    hooks: Hooks
    caches: CacheRegistry
    trace: Trace

    @property
    def reads_cache(self) -> bool:
        """Whether the method reads or changes cached keys and values."""
        return self.method.trims_caches or self.hooks.reads_cache
