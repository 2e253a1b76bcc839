"""Objects that hold a model without being one: PEFT, DataParallel, a pipeline, `analysis.Loaded`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from v2drop.models.families import FAMILIES

USUAL = ("module", "model")  # attributes that are looked at first: others may be private doubles of them
DEPTH = 3  # of wrappers around wrappers


def is_whole(model: Any) -> bool:
    """Whether an object is a model of a supported family, with its decoder where the family has it."""
    family = FAMILIES.get(_model_type(model)) if isinstance(model, nn.Module) else None
    if family is None or family.decoder.partition(".")[0] not in model._modules:  # a wrapper may pass attributes on
        return False
    try:
        return hasattr(model.get_submodule(family.decoder), "layers")
    except AttributeError:
        return False


def path_to_model(wrapper: Any) -> str:
    """How to get from an object to the model that it holds, such as ".module"; empty if it holds none.

    A model of another kind that has a supported one among its parts is no wrapper: it has a configuration of its own.
    """
    level = [("", wrapper)]
    for _ in range(DEPTH):
        level = [(path + step, inner) for path, outer in level for step, inner in _held(outer)]
        for path, inner in level:
            if is_whole(inner) and (_model_type(wrapper) is None or wrapper.config is inner.config):
                return path
    return ""


def _model_type(model: Any) -> Any:
    return getattr(getattr(model, "config", None), "model_type", None)


def _held(outer: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, and how to get there from it."""
    if isinstance(outer, nn.Module) and callable(getattr(outer, "get_base_model", None)):
        yield ".get_base_model()", outer.get_base_model()
    if isinstance(outer, (tuple, list)):
        yield from ((f"[{number}]", inner) for number, inner in enumerate(outer))
    elif isinstance(outer, Mapping):
        yield from ((f"[{name!r}]", inner) for name, inner in outer.items())
    else:
        attributes = getattr(outer, "__dict__", {}) | getattr(outer, "_modules", {})
        names = sorted((name for name in attributes if not name.startswith("_")), key=lambda name: name not in USUAL)
        yield from ((f".{name}", attributes[name]) for name in names)
