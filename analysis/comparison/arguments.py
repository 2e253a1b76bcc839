"""Checks of what methods are compared, on which questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.models.loading import Loaded
from analysis.scenes.asked import asked
from v2drop import Method


def checked_methods(methods: Any, functions: bool = False) -> Mapping:
    """The methods by name, one or more.

    Args:
        methods: The argument as the user wrote it.
        functions: Whether None and functions that make a method are methods, too.

    Raises:
        ValueError: There is no method, or something that is none.
    """
    allowed = ", None or a function that returns one" if functions else ""
    if not isinstance(methods, Mapping) or not methods:
        raise ValueError(f"methods must be a dictionary of methods by name, one or more; got {methods!r}.")
    for name, method in methods.items():
        good = isinstance(method, Method) or (functions and (method is None or callable(method)))
        if isinstance(method, type):
            raise ValueError(
                f"methods[{name!r}] must be a method{allowed}; got the class {method.__name__}. Make a method of it, "
                f"such as {method.__name__}(Schedule({{1: 48}}))."
            )
        if not good:
            raise ValueError(f"methods[{name!r}] must be a method{allowed}; got {method!r}.")
    return methods


def checked_makers(makers: Any) -> Mapping:
    """The functions from a schedule to a method by name, one or more.

    Raises:
        ValueError: There is none, or something else.
    """
    if not isinstance(makers, Mapping) or not makers:
        raise ValueError(f"makers must be a dictionary of functions from a schedule by name; got {makers!r}.")
    for name, make in makers.items():
        if isinstance(make, Method) or not callable(make):
            raise ValueError(f"makers[{name!r}] must make a method of a schedule, as the class V2Drop; got {make!r}.")
    return makers


def single_prompt(loaded: Loaded, questions: Any) -> int:
    """The number of vision tokens in the prompt of the first question.

    Raises:
        ValueError: There is no question.
    """
    scene, question = asked(questions)[0]
    return len(loaded.vision_positions(loaded.inputs([scene.image], [question.text]))[0])
