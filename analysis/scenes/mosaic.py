"""Digit mosaics: scenes whose questions, answers and relevant patches are known.

A scene is a 96 x 96 RGB picture: two to six real handwritten digits (scikit-learn's bundled digits), each in a
colour of its own, on a crop of a real photograph (scikit-learn's bundled images). The picture is cut into 12 x 12
patches of 8 pixels, the vision tokens of the embedded model; a digit fills a block of 2 x 2 patches and is as likely
at any of the 6 x 6 places, so no patch is more informative than another *a priori*: whatever positional bias is
measured comes from the model or the criterion, not from the data.

Everything is a function of (split, seed, index): scene 7 is the same scene however many are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.scenes.drawing import (
    BLOCK,
    COLOURS,
    GRID,
    SPLITS,
    check_split,
    draw_digit,
    photograph_crop,
    written_digit,
)

PLACES = GRID // BLOCK
QUESTION_KINDS = ("what", "colour", "is-there", "how-many", "where")
COUNTS = ("two", "three", "four", "five", "six")
QUADRANTS = ("top-left", "top-right", "bottom-left", "bottom-right")


@dataclass(frozen=True)
class Digit:
    """A coloured digit at a place (row, column) of the 6 x 6 places."""

    digit: int
    colour: str
    place: tuple[int, int]

    @property
    def patches(self) -> tuple[int, ...]:
        """The four patches it fills, as ascending indices into the 144 patches (row by row)."""
        top, left = self.place[0] * BLOCK, self.place[1] * BLOCK
        return tuple((top + r) * GRID + left + c for r in range(BLOCK) for c in range(BLOCK))

    @property
    def quadrant(self) -> str:
        """Which quarter of the picture it lies in (no place straddles two)."""
        return QUADRANTS[2 * (self.place[0] >= PLACES // 2) + (self.place[1] >= PLACES // 2)]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, uint8 [96, 96, 3], and what is in it."""

    image: np.ndarray
    things: tuple[Digit, ...]


@dataclass(frozen=True)
class Question:
    """What is asked of a scene, the one-word answer, and the patches one has to see to give it.

    `relevant` holds ascending patch indices; it is empty where the answer is "no": nothing in the picture is asked
    about. Other objects' patches are `objects` minus `relevant`.
    """

    kind: str
    text: str
    answer: str
    relevant: tuple[int, ...]
    objects: tuple[int, ...]


Questions = list[tuple[Scene, Question]]


def scene(split: str, seed: int, index: int) -> Scene:
    """Draw one scene; the same arguments give the same scene, bit for bit.

    Raises:
        ValueError: `split` is not one of SPLITS.
    """
    check_split(split)
    rng = np.random.default_rng([SPLITS.index(split), seed, index])
    n_things = int(rng.integers(2, 2 + len(COUNTS)))
    digits = rng.permutation(10)[:n_things]
    colours = rng.permutation(list(COLOURS))[:n_things]
    places = rng.permutation(PLACES**2)[:n_things]
    things = tuple(
        Digit(int(d), str(c), divmod(int(p), PLACES)) for d, c, p in zip(digits, colours, places, strict=True)
    )
    image = photograph_crop(rng)
    for thing in things:
        draw_digit(image, thing.place, thing.colour, written_digit(split, thing.digit, rng))
    return Scene(image.round().astype(np.uint8), things)


def question(scene: Scene, kind: str, rng: np.random.Generator) -> Question:
    """Ask one question of a scene; "is-there" is answered yes and no equally often, whatever the scene.

    Raises:
        ValueError: `kind` is not one of KINDS.
    """
    if kind not in QUESTION_KINDS:
        raise ValueError(f"kind must be one of {', '.join(QUESTION_KINDS)}; got {kind!r}.")
    objects = tuple(sorted(p for t in scene.things for p in t.patches))
    thing = scene.things[rng.integers(len(scene.things))]
    if kind == "what":
        return Question(kind, f"what digit is {thing.colour}", str(thing.digit), thing.patches, objects)
    if kind == "colour":
        return Question(kind, f"what colour is {thing.digit}", thing.colour, thing.patches, objects)
    if kind == "where":
        return Question(kind, f"where is the {thing.digit}", thing.quadrant, thing.patches, objects)
    if kind == "how-many":
        return Question(kind, "how many digits", COUNTS[len(scene.things) - 2], objects, objects)
    if rng.random() < 0.5:
        return Question(kind, f"is there a {thing.digit}", "yes", thing.patches, objects)
    absent = sorted(set(range(10)) - {t.digit for t in scene.things})
    return Question(kind, f"is there a {absent[rng.integers(len(absent))]}", "no", (), objects)


def sample(
    n: int, split: str = "test", seed: int = 0, kinds: tuple[str, ...] = QUESTION_KINDS
) -> list[tuple[Scene, Question]]:
    """`n` scenes with one question each, the kinds in turn.

    Raises:
        ValueError: `split` or a kind is unknown, or `n` is negative.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more; got {n}.")
    drawn = (scene(split, seed, i) for i in range(n))
    return [(s, question(s, kinds[i % len(kinds)], _question_rng(split, seed, i))) for i, s in enumerate(drawn)]


def questions_each(n_scenes: int, seed: int = 0) -> tuple[Questions, list[int]]:
    """A question of every kind about each of some held-out scenes, and which scene each is about."""
    drawn = [scene("test", seed, i) for i in range(n_scenes)]
    # The streams of scenes begin with 0 or 1, the number of their split; these begin with 2.
    rngs = [np.random.default_rng([2, seed, i]) for i in range(n_scenes)]
    asked = [(s, question(s, kind, rng)) for s, rng in zip(drawn, rngs, strict=True) for kind in QUESTION_KINDS]
    return asked, [i for i in range(n_scenes) for _ in QUESTION_KINDS]


def words() -> list[str]:
    """Every word that a question or an answer can hold, in a fixed order."""
    asked = "what digit is colour where the how many digits there a yes no".split()
    return [*asked, *map(str, range(10)), *COLOURS, *COUNTS, *QUADRANTS]


def _question_rng(split: str, seed: int, index: int) -> np.random.Generator:
    # The trailing 1 keeps the question's stream apart from the scene's.
    return np.random.default_rng([SPLITS.index(split), seed, index, 1])
