"""Ten kinds of questions about mosaics: the words, the answer, and the digits one has to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from analysis.scenes.answers import NUMBERS
from analysis.scenes.drawing import COLOURS, PATCH
from analysis.scenes.mosaic import N_DIGITS, Digit, Scene, single
from analysis.scenes.relations import DIRECTIONS, QUADRANTS, neighbour, quadrant

WAYS = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


class Asked(NamedTuple):
    """A question about a scene.

    Attributes:
        text: The question in words.
        answer: The answer, one word.
        first: The digits of the first look.
        second: The digits that one looks at only after another digit was found.
    """

    text: str
    answer: str
    first: list[Digit]
    second: list[Digit]


def _what(scene: Scene, rng: np.random.Generator) -> Asked:
    digit = scene.digits[_pick(single(scene.digits, "colour"), rng)]
    return Asked(f"what digit is {digit.colour}", str(digit.digit), [digit], [])


def _colour(scene: Scene, rng: np.random.Generator) -> Asked:
    digit = scene.digits[_pick(single(scene.digits, "digit"), rng)]
    return Asked(f"what colour is {digit.digit}", digit.colour, [digit], [])


def _is_there(scene: Scene, rng: np.random.Generator) -> Asked:
    values = sorted({digit.digit for digit in scene.digits})
    if rng.random() < 0.5:
        value = _pick(values, rng)
        return Asked(f"is there a {value}", "yes", [d for d in scene.digits if d.digit == value], [])
    return Asked(f"is there a {_pick(sorted(set(range(10)) - set(values)), rng)}", "no", [], [])


def _how_many(scene: Scene, _: np.random.Generator) -> Asked:
    return Asked("how many digits", NUMBERS[len(scene.digits)], list(scene.digits), [])


def _where(scene: Scene, rng: np.random.Generator) -> Asked:
    side = scene.grid * PATCH
    clear = [i for i in single(scene.digits, "digit") if quadrant(scene.digits[i].centre, side)]
    digit = scene.digits[_pick(clear, rng)]
    return Asked(f"where is the {digit.digit}", quadrant(digit.centre, side) or "", [digit], [])


def _how_many_of(scene: Scene, rng: np.random.Generator) -> Asked:
    by_count: dict[int, list[str]] = {}
    for colour in COLOURS:
        by_count.setdefault(sum(d.colour == colour for d in scene.digits), []).append(colour)
    count = _pick(sorted(by_count), rng)
    colour = _pick(by_count[count], rng)
    return Asked(f"how many are {colour}", NUMBERS[count], [d for d in scene.digits if d.colour == colour], [])


def _next_to_colour(scene: Scene, rng: np.random.Generator) -> Asked:
    one, way, other = _pick(_pairs(scene, "colour"), rng)
    return Asked(f"what colour is {WAYS[way]} the {one.colour} one", other.colour, [one], [other])


def _next_to_digit(scene: Scene, rng: np.random.Generator) -> Asked:
    one, way, other = _pick(_pairs(scene, "digit"), rng)
    return Asked(f"what digit is {WAYS[way]} the {one.digit}", str(other.digit), [one], [other])


def _largest(scene: Scene, rng: np.random.Generator) -> Asked:
    largest = max(scene.digits, key=lambda digit: digit.extent)
    if rng.random() < 0.5:
        return Asked(f"is the largest digit {largest.colour}", "yes", [largest], [])
    others = sorted({d.colour for d in scene.digits} - {largest.colour})
    return Asked(f"is the largest digit {_pick(others, rng)}", "no", [largest], [])


def _twice(scene: Scene, _: np.random.Generator) -> Asked:
    values = [d.digit for d in scene.digits]
    twins = [d for d in scene.digits if values.count(d.digit) == 2]
    return Asked("which digit appears twice", str(twins[0].digit), twins, [])


KINDS: dict[str, Callable[[Scene, np.random.Generator], Asked]] = {
    "what": _what,
    "colour": _colour,
    "is-there": _is_there,
    "how-many": _how_many,
    "where": _where,
    "how-many-of": _how_many_of,
    "next-to-colour": _next_to_colour,
    "next-to-digit": _next_to_digit,
    "largest": _largest,
    "twice": _twice,
}
QUESTION_KINDS = tuple(KINDS)


def _pick(choices: list, rng: np.random.Generator) -> Any:
    return choices[rng.integers(len(choices))]


def _pairs(scene: Scene, name: str) -> list[tuple[Digit, str, Digit]]:
    """A digit whose colour (or value) no other has, a direction, and the only digit there."""
    digits, places = scene.digits, [digit.centre for digit in scene.digits]
    found = [(i, way, neighbour(i, places, way)) for i in single(digits, name) for way in DIRECTIONS]
    return [(digits[i], way, digits[other]) for i, way, other in found if other is not None]


def words() -> list[str]:
    """Every word that a question or an answer may contain, in a fixed order."""
    asked = (
        "what which digit digits is are colour where the there a one of how many left right above below largest "
        "appears twice"
    ).split()
    return list(dict.fromkeys([*asked, *answer_words()]))


def answer_words() -> list[str]:
    """Every word that an answer may be, in a fixed order."""
    return ["yes", "no", *map(str, range(10)), *COLOURS, *NUMBERS[: 1 + max(N_DIGITS)], *QUADRANTS]
