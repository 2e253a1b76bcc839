"""The method that `--model_args` name, made for each prompt."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from analysis.comparison.named_method import FINE, check_ways, named_method
from analysis.models.loaded import Loaded
from v2drop import METHODS, Method, Schedule
from v2drop.arguments import one_of, share, whole_number, whole_numbers
from v2drop.models.parts import locate

NO_METHOD = "none"  # the name under which nothing is dropped


@dataclass(frozen=True)
class MethodChoice:
    """A method by name, and one way of saying how many tokens are left.

    Attributes:
        name: A name in `v2drop.METHODS`, or NO_METHOD.
        options: Further arguments of the method, by name.
        average: The true layer average of vision tokens: an int for their number, for which each prompt gets a schedule
            of its own (one with fewer tokens loses none), or a float for their share, for which all have one.
        layers: The drop layers of `average`; None for the method's own.
        left: The number or share of tokens left, by drop layer.
        preset: A schedule of a paper or released code.

    Without average, left and preset the method drops as released (`Method.default`).
    """

    name: str
    options: Mapping[str, Any]
    average: int | float | None = None
    layers: Sequence[int] | None = None
    left: Mapping[int, int | float] | None = None
    preset: Schedule | None = None

    @property
    def by_prompt(self) -> bool:
        """Whether prompts of different lengths get different schedules, and so are not asked in one batch."""
        return isinstance(self.average, int)

    def method_for(self, loaded: Loaded, n_tokens: int) -> Method | None:
        """The method for a prompt; None where nothing is to be dropped.

        Args:
            loaded: Model and processor.
            n_tokens: The number of the prompt's vision tokens.

        Raises:
            ValueError: The model has no such layers, or the average cannot be reached in a prompt of this length.
        """
        if self.name == NO_METHOD or not n_tokens:
            return None
        if self.preset is not None:
            return METHODS[self.name](self.preset, **self.options)
        if self.average is None and self.left is None:
            return METHODS[self.name].default(loaded.model, **self.options)
        told = {"average": self.average, "layers": self.layers, "left": self.left}
        if isinstance(self.average, float):
            return named_method(self.name, self.options, FINE, loaded.n_layers, as_shares=True, **told)
        if self.average is not None:
            told["average"] = min(self.average, n_tokens)
        return named_method(self.name, self.options, n_tokens, loaded.n_layers, **told)

    def check(self, loaded: Loaded) -> None:
        """Refuse what is wrong for any prompt, before the first one.

        Args:
            loaded: Model and processor.

        Raises:
            ValueError: An option has a wrong value, or the method or its layers do not fit the model.
        """
        made = self.method_for(loaded, self.average if self.by_prompt else FINE)
        if made is not None:
            made.check_model(locate(loaded.model))
            made.schedule.check_layers(loaded.n_layers)


def method_choice(
    method: str,
    average: Any = None,
    layers: Any = None,
    left: Any = None,
    preset: Any = None,
    budget: Any = None,
    **options: Any,
) -> MethodChoice:
    """The method that arguments of a command line name.

    Args:
        method: A name in `v2drop.METHODS`, or NO_METHOD.
        average: As for `MethodChoice`.
        layers: As for `MethodChoice`; lists and dictionaries may be texts, such as "[3,17,22]".
        left: As for `MethodChoice`, such as "{3:288,17:0.25}".
        preset: The name of a preset's model (`v2drop.Schedule.preset`).
        budget: The preset's budget, as its source names it.
        **options: Further arguments of the method.

    Raises:
        ValueError: There is no method or option of that name, a schedule is told twice, or it is none.
    """
    one_of("method", method, [NO_METHOD, *METHODS])
    told = {"average": average, "layers": layers, "left": left, "preset": preset, "budget": budget}
    if method == NO_METHOD:
        given = [name for name, value in (told | options).items() if value is not None]
        if given:
            raise ValueError(f"method={NO_METHOD} drops nothing and takes no other arguments; got {', '.join(given)}.")
        return MethodChoice(method, {})
    _check_names(method, options)
    options = {name: _value(name, value) for name, value in options.items()}
    layers = None if layers is None else whole_numbers("layers", _value("layers", layers), 0)
    left = None if left is None else Schedule(_value("left", left)).left
    solved = (average, layers, left) != (None, None, None)
    if (preset is None) != (budget is None) or (preset is not None and solved):
        raise ValueError(f"a preset needs preset and budget, without average, layers and left; got {_shown(told)}.")
    if preset is not None:
        return MethodChoice(method, options, preset=Schedule.preset(preset, budget))
    if solved:
        check_ways(average, layers, None, left)
    return MethodChoice(method, options, _average(average), layers, left)


def _check_names(method: str, options: Mapping[str, Any]) -> None:
    known = [each.name for each in fields(METHODS[method]) if each.init and each.name != "schedule"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(
            f"there is no argument {', '.join(map(repr, unknown))} of the model, nor of the method {method!r}, which "
            f"has {', '.join(known)}; a schedule is told by average, layers, left, preset and budget."
        )


def _average(average: Any) -> int | float | None:
    if isinstance(average, float):
        return share("average, unless it is an int for a number of tokens,", average)
    return average if average is None else whole_number("average", average, 1)


def _value(name: str, value: Any) -> Any:
    """A list, tuple or dictionary that a command line gave as text; everything else as it is."""
    if not isinstance(value, str) or not value.startswith(("[", "(", "{")):
        return value
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{name} must be a list or a dictionary, such as [3,17,22]; got {value!r}.") from error


def _shown(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in told.items() if value is not None)
