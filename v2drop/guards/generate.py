"""Refusal of arguments of `generate`, before images are encoded.

`generate` runs the vision tower before it makes the cache and calls the model. A hook on the model would refuse too
late, after that work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any

from torch import nn
from transformers.generation.configuration_utils import ALL_STATIC_CACHE_IMPLEMENTATIONS

from v2drop.guards.caches import ALLOWED_CACHES, check_cache
from v2drop.guards.forward import PER_LAYER, check_no_output_per_layer
from v2drop.guards.one_thread import NotPickled, OneThread, refuse_copy
from v2drop.models.compilation import EagerOnly

# Old checkpoints of models with sliding windows say "hybrid", and transformers now gives them a dynamic cache.
STATIC = {*ALL_STATIC_CACHE_IMPLEMENTATIONS} - {"hybrid"}


def install_guards(model: nn.Module, one_thread: OneThread, reads_cache: bool) -> Iterator[Any]:
    """Yield the handles of the guard on `generate` and of eager mode; each is installed before it is yielded.

    Args:
        model: model with its language-model head.
        one_thread: the run of the `with` that is going on.
        reads_cache: whether the method reads or changes cached keys and values.
    """
    yield GenerateGuard(model, one_thread, reads_cache)
    yield EagerOnly()


class GenerateGuard:
    """A handle: until it is removed, `model.generate` checks its arguments first, and continuous batching is refused.

    Args:
        model: model with its language-model head.
        one_thread: the run of the `with` that is going on; a call of `generate` is one.
        reads_cache: whether the method reads or changes cached keys and values.
    """

    def __init__(self, model: nn.Module, one_thread: OneThread, reads_cache: bool) -> None:
        self._model, self._before = model, {}  # what stood on the model itself, by name; None: nothing
        checks = {"generate": _generate_check(model, reads_cache), "init_continuous_batching": _refuse_batching}
        for name, check in checks.items():
            if hasattr(model, name):
                self._before[name] = vars(model).get(name)
                setattr(model, name, _CheckedMethod(getattr(model, name), check, one_thread))

    def remove(self) -> None:
        """Restore the methods that were there before, unless someone else has replaced them since."""
        for name, before in self._before.items():
            if not isinstance(vars(self._model).get(name), _CheckedMethod):
                continue
            delattr(self._model, name)
            if before is not None:
                setattr(self._model, name, before)


class _CheckedMethod(NotPickled):
    """A method of a model that checks its arguments first, and is one run of the `with`."""

    def __init__(self, method: Callable, check: Callable, one_thread: OneThread) -> None:
        self._method, self._check, self._one_thread = method, check, one_thread
        update_wrapper(self, method)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._one_thread.run(self):
            self._check(args, kwargs)
            return self._method(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> Callable:
        return refuse_copy  # `method` is bound to the original model, so a copy of the model would run the original


def _generate_check(model: nn.Module, reads_cache: bool) -> Callable:
    return lambda args, kwargs: check_generate(model, args, kwargs, reads_cache)


def _refuse_batching(args: tuple, kwargs: dict[str, Any]) -> None:
    raise ValueError(
        "continuous batching (generate_batch, cache_implementation='paged') is not supported while tokens are "
        "dropped: its pages hold the same tokens in every layer. Use generate."
    )


def check_generate(model: nn.Module, args: tuple, kwargs: dict[str, Any], reads_cache: bool) -> None:
    """Refuse arguments of `generate`.

    Args:
        model: model whose `generate` is called.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        reads_cache: whether the method reads or changes cached keys and values.

    Raises:
        ValueError: the cache would be static, or unreadable for the method; the prompt would be prefilled in chunks; an
            output of every layer is requested.
    """
    config = args[1] if len(args) > 1 else kwargs.get("generation_config")

    def option(name: str) -> Any:
        sources = (kwargs.get(name), getattr(config, name, None), getattr(model.generation_config, name, None))
        return next((value for value in sources if value is not None), None)

    for name in PER_LAYER:
        check_no_output_per_layer(name, option(name))
    check_cache(kwargs.get("past_key_values"), reads_cache)
    kind = option("cache_implementation")
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
    if option("prefill_chunk_size") is not None:
        raise ValueError(
            "prefill_chunk_size is not supported while tokens are dropped: a prompt must be prefilled at "
            "once, because the choice of tokens may depend on its end. Leave it out."
        )
