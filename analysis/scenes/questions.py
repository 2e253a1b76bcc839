"""Questions about mosaics: ten kinds, with one-word answers and the patches one has to see, look by look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from analysis.scenes.answers import NUMBERS
from analysis.scenes.drawing import COLOURS, PATCH
from analysis.scenes.mosaic import N_DIGITS, SIDE, SPLITS, Digit, Scene, scene, single
from analysis.scenes.relations import DIRECTIONS, QUADRANTS, neighbour, quadrant
from v2drop.arguments import one_of, seed_number, whole_number

WAYS = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


@dataclass(frozen=True)
class Question:
    """A question about a scene, with its answer and the patches one has to see to answer it.

    Attributes:
        kind: One of QUESTION_KINDS.
        text: The question in words.
        answer: The answer, one word.
        relevant: Indices of the patches that the question is about, ascending; empty where it is about nothing in the
            picture ("no", "zero").
        objects: Indices of the patches of all digits, ascending.
        second: Those of `relevant` that one looks at only after another digit was found: the red one's left neighbour,
            where the question names the red one. Empty where one look is enough.
    """

    kind: str
    text: str
    answer: str
    relevant: tuple[int, ...] = ()
    objects: tuple[int, ...] = ()
    second: tuple[int, ...] = ()


Questions = list[tuple[Scene, Question]]
Asked = tuple[str, str, list[Digit], list[Digit]]  # text, answer, digits of the first look and of the second


def question(scene: Scene, kind: str, rng: np.random.Generator) -> Question:
    """One question about a scene; answers yes and no are equally probable, and counts that the scene allows.

    Args:
        scene: The scene that is asked about.
        kind: One of QUESTION_KINDS.
        rng: The generator that draws the digit asked about.

    Raises:
        ValueError: `kind` is not one of QUESTION_KINDS, or there are no digits to ask about.
    """
    one_of("kind", kind, QUESTION_KINDS)
    if not scene.digits:
        raise ValueError("a scene must have digits to be asked about; got one without.")
    text, answer, first, second = KINDS[kind](scene, rng)
    return Question(
        kind, text, answer, _patches([*first, *second]), _patches(scene.digits), _patches(second) if second else ()
    )


def sample(
    n: int, split: str = "test", seed: int = 0, kinds: Iterable[str] | None = None, side: int = SIDE
) -> Questions:
    """The first `n` scenes of a data set with one question each.

    Args:
        n: The number of scenes.
        split: "train" or "test"; no handwritten digit and no photograph is in both.
        seed: The seed of the data set.
        kinds: Kinds of questions, which take turns; None for all.
        side: Width and height of the pictures, one of `mosaic.PICTURE_SIDES`.

    Raises:
        ValueError: `split`, `side` or a kind is unknown, there is no kind, or `n` or `seed` is no int of 0 or more.
    """
    n, seed, kinds = whole_number("n", n, 0), seed_number(seed), _kinds(kinds)
    one_of("split", split, SPLITS)
    drawn = (scene(split, seed, i, side) for i in range(n))
    # The trailing 1 keeps the question's stream apart from the scene's.
    rngs = (np.random.default_rng([SPLITS.index(split), seed, i, side, 1]) for i in range(n))
    return [(s, question(s, kinds[i % len(kinds)], rng)) for i, (s, rng) in enumerate(zip(drawn, rngs, strict=True))]


def questions_each(n_scenes: int, seed: int = 0, side: int = SIDE) -> tuple[Questions, list[int]]:
    """Held-out scenes with a question of every kind about each of them.

    Args:
        n_scenes: The number of scenes.
        seed: The seed of scenes and questions.
        side: Width and height of the pictures, one of `mosaic.PICTURE_SIDES`.

    Returns:
        Two values: the questions, and for each of them the number of its scene.

    Raises:
        ValueError: `n_scenes` or `seed` is no int of 0 or more, or `side` is none of these.
    """
    n_scenes, seed = whole_number("n_scenes", n_scenes, 0), seed_number(seed)
    drawn = [scene("test", seed, i, side) for i in range(n_scenes)]
    # The streams of scenes begin with 0 or 1, the number of their split; these begin with 2.
    rngs = [np.random.default_rng([2, seed, i, side]) for i in range(n_scenes)]
    asked = [(s, question(s, kind, rng)) for s, rng in zip(drawn, rngs, strict=True) for kind in QUESTION_KINDS]
    return asked, [i for i in range(n_scenes) for _ in QUESTION_KINDS]


def words() -> list[str]:
    """Every word that a question or an answer may contain, in a fixed order."""
    asked = (
        "what which digit digits is are colour where the there a one of how many left right above below largest "
        "appears twice yes no"
    ).split()
    return list(dict.fromkeys([*asked, *map(str, range(10)), *COLOURS, *NUMBERS[: 1 + max(N_DIGITS)], *QUADRANTS]))


def _what(scene: Scene, rng: np.random.Generator) -> Asked:
    digit = scene.digits[_pick(single(scene.digits, "colour"), rng)]
    return f"what digit is {digit.colour}", str(digit.digit), [digit], []


def _colour(scene: Scene, rng: np.random.Generator) -> Asked:
    digit = scene.digits[_pick(single(scene.digits, "digit"), rng)]
    return f"what colour is {digit.digit}", digit.colour, [digit], []


def _is_there(scene: Scene, rng: np.random.Generator) -> Asked:
    values = sorted({digit.digit for digit in scene.digits})
    if rng.random() < 0.5:
        value = _pick(values, rng)
        return f"is there a {value}", "yes", [d for d in scene.digits if d.digit == value], []
    return f"is there a {_pick(sorted(set(range(10)) - set(values)), rng)}", "no", [], []


def _how_many(scene: Scene, _: np.random.Generator) -> Asked:
    return "how many digits", NUMBERS[len(scene.digits)], list(scene.digits), []


def _where(scene: Scene, rng: np.random.Generator) -> Asked:
    side = scene.grid * PATCH
    clear = [i for i in single(scene.digits, "digit") if quadrant(scene.digits[i].centre, side)]
    digit = scene.digits[_pick(clear, rng)]
    return f"where is the {digit.digit}", quadrant(digit.centre, side) or "", [digit], []


def _how_many_of(scene: Scene, rng: np.random.Generator) -> Asked:
    by_count: dict[int, list[str]] = {}
    for colour in COLOURS:
        by_count.setdefault(sum(d.colour == colour for d in scene.digits), []).append(colour)
    count = _pick(sorted(by_count), rng)
    colour = _pick(by_count[count], rng)
    return f"how many are {colour}", NUMBERS[count], [d for d in scene.digits if d.colour == colour], []


def _next_to_colour(scene: Scene, rng: np.random.Generator) -> Asked:
    one, way, other = _pick(_pairs(scene, "colour"), rng)
    return f"what colour is {WAYS[way]} the {one.colour} one", other.colour, [one], [other]


def _next_to_digit(scene: Scene, rng: np.random.Generator) -> Asked:
    one, way, other = _pick(_pairs(scene, "digit"), rng)
    return f"what digit is {WAYS[way]} the {one.digit}", str(other.digit), [one], [other]


def _largest(scene: Scene, rng: np.random.Generator) -> Asked:
    largest = max(scene.digits, key=lambda digit: digit.extent)
    if rng.random() < 0.5:
        return f"is the largest digit {largest.colour}", "yes", [largest], []
    others = sorted({d.colour for d in scene.digits} - {largest.colour})
    return f"is the largest digit {_pick(others, rng)}", "no", [largest], []


def _twice(scene: Scene, _: np.random.Generator) -> Asked:
    values = [d.digit for d in scene.digits]
    twins = [d for d in scene.digits if values.count(d.digit) == 2]
    return "which digit appears twice", str(twins[0].digit), twins, []


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


def _pick(choices: list, rng: np.random.Generator):  # noqa: ANN202 (of whatever the list holds)
    return choices[rng.integers(len(choices))]


def _pairs(scene: Scene, name: str) -> list[tuple[Digit, str, Digit]]:
    """A digit whose colour (or value) no other has, a direction, and the only digit there."""
    digits, places = scene.digits, [digit.centre for digit in scene.digits]
    found = [(i, way, neighbour(i, places, way)) for i in single(digits, name) for way in DIRECTIONS]
    return [(digits[i], way, digits[other]) for i, way, other in found if other is not None]


def _patches(digits: Iterable[Digit]) -> tuple[int, ...]:
    return tuple(sorted({patch for digit in digits for patch in digit.patches}))


def _kinds(kinds: Iterable[str] | None) -> list[str]:
    if kinds is None:
        return list(QUESTION_KINDS)
    listed = list(kinds) if isinstance(kinds, Iterable) and not isinstance(kinds, str) else []
    if not listed:
        raise ValueError(f"kinds must be a list of kinds of questions, at least one; got {kinds!r}.")
    return [one_of("each of kinds", kind, QUESTION_KINDS) for kind in listed]
