"""What `generate` may be asked for while tokens are dropped, refused before even the pictures are encoded.

`generate` runs the vision tower before it makes the cache and calls the model, so a hook would be too late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any

from torch import nn
from transformers.generation.configuration_utils import ALL_STATIC_CACHE_IMPLEMENTATIONS

from v2drop.guards.caches import ALLOWED_CACHES, check_cache
from v2drop.guards.forward import PER_LAYER, check_no_output_per_layer
from v2drop.guards.state import check_same_model_and_thread
from v2drop.models.compilation import EagerOnly

# Old checkpoints of models with sliding windows name it, and transformers gives them a dynamic cache since.
STATIC = {*ALL_STATIC_CACHE_IMPLEMENTATIONS} - {"hybrid"}


def install_guards(model: nn.Module, reads_cache: bool) -> Iterator[Any]:
    """Handles of what is put beside the hooks, on the model and on compiled code; each is there before the next."""
    yield GenerateGuard(model, reads_cache)
    yield EagerOnly()


class GenerateGuard:
    """A handle: until it is removed, the model's `generate` is checked first; its continuous batching is refused."""

    def __init__(self, model: nn.Module, reads_cache: bool) -> None:
        """See `caches.check` for `reads_cache`."""
        self._model, self._names = model, []
        for name, guarded in (("generate", _checked(model, reads_cache)), ("init_continuous_batching", _refused)):
            if hasattr(model, name) and name not in vars(model):
                setattr(model, name, _CheckedMethod(getattr(model, name), guarded))
                self._names.append(name)

    def remove(self) -> None:
        """The methods of the model's class are back, unless somebody has put others there since."""
        for name in self._names:
            if isinstance(vars(self._model).get(name), _CheckedMethod):
                delattr(self._model, name)


class _CheckedMethod:
    """A method of a model, and what looks at its arguments first. A copy of the model would run the model's own."""

    def __init__(self, method: Callable, look: Callable) -> None:
        self._method, self._look = method, look
        update_wrapper(self, method)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._look(args, kwargs)
        return self._method(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> _CheckedMethod:
        return _CheckedMethod(self._method, _copied)


def _checked(model: nn.Module, reads_cache: bool) -> Callable:
    return lambda args, kwargs: check_generate(model, args, kwargs, reads_cache)


def _copied(args: tuple, kwargs: dict[str, Any]) -> None:
    check_same_model_and_thread(same=False, busy=None)


def _refused(args: tuple, kwargs: dict[str, Any]) -> None:
    raise ValueError(
        "continuous batching (generate_batch, cache_implementation='paged') is not supported while tokens are "
        "dropped: its pages hold the same tokens in every layer. Use generate."
    )


def check_generate(model: nn.Module, args: tuple, kwargs: dict[str, Any], reads_cache: bool) -> None:
    """Refuse arguments of `generate`.

    Raises:
        ValueError: the cache would be static, or the method cannot read it; the prompt would be prefilled in chunks;
            something of every layer is asked for.
    """
    given = args[1] if len(args) > 1 else kwargs.get("generation_config")

    def asked(name: str) -> Any:
        sources = (kwargs.get(name), getattr(given, name, None), getattr(model.generation_config, name, None))
        return next((value for value in sources if value is not None), None)

    for name in PER_LAYER:
        check_no_output_per_layer(name, asked(name))
    check_cache(kwargs.get("past_key_values"), reads_cache)
    kind = asked("cache_implementation")
    if kind in STATIC:
        raise ValueError(
            f"cache_implementation={kind!r} cannot hold a different number of tokens per layer; allowed: "
            f"{ALLOWED_CACHES}."
        )
    if reads_cache and kind in ("quantized", "offloaded"):
        raise ValueError(
            f"the method reads what caches hold, so cache_implementation={kind!r} is not supported with "
            "it; leave it out."
        )
    if asked("prefill_chunk_size") is not None:
        raise ValueError(
            "prefill_chunk_size is not supported while tokens are dropped: a prompt must be prefilled at "
            "once, for what is dropped may depend on its end. Leave it out."
        )
