"""Checks of what methods are compared, on which questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.models.loaded import Loaded
from analysis.scenes.asked import prompts
from analysis.scenes.questions import Questions
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


def tokens_of_every_prompt(loaded: Loaded, questions: Questions) -> int:
    """The number of vision tokens in the prompt of each question, which a budget for all of them needs to be one.

    Raises:
        ValueError: Prompts have different numbers of vision tokens.
    """
    counts: dict[int, int] = {}
    for number, (scene, question) in enumerate(questions):
        inputs = prompts(loaded, [(scene, question)])
        counts.setdefault(len(loaded.vision_positions(inputs)[0]), number)
    if len(counts) > 1:
        shown = ", ".join(f"{count} in that of question {number}" for count, number in counts.items())
        raise ValueError(
            f"prompts must have the same number of vision tokens to be compared at one budget; got {shown}. Scale the "
            "pictures to one size, or ask about those of one size at a time; for texts, give `accuracy` methods whose "
            "schedules hold shares, such as Schedule({3: 0.5})."
        )
    return next(iter(counts))
