"""Digit mosaics: scenes whose questions, answers and relevant patches are known.

A scene is a 96 x 96 RGB picture: two to six real handwritten digits (scikit-learn's bundled digits), each in a
colour of its own, on a crop of a real photograph (scikit-learn's bundled images). The picture is cut into 12 x 12
patches of 8 pixels, the vision tokens of the embedded model; a digit fills a block of 2 x 2 patches and is as likely
at any of the 6 x 6 places, so no patch is more informative than another *a priori*: whatever positional bias is
measured comes from the model or the criterion, not from the data.

Everything is a function of (split, seed, index): scene 7 is the same scene however many are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.scenes.drawing import BLOCK, COLOURS, GRID, SPLITS, draw_digit, photograph_crop, written_digit
from v2drop.arguments import one_of, seed_number, whole_number

PLACES = GRID // BLOCK
QUESTION_KINDS = ("what", "colour", "is-there", "how-many", "where")
COUNTS = ("two", "three", "four", "five", "six")
QUADRANTS = ("top-left", "top-right", "bottom-left", "bottom-right")


@dataclass(frozen=True)
class Digit:
    """A coloured digit in a scene.

    Attributes:
        digit: 0 to 9.
        colour: A key of `analysis.scenes.drawing.COLOURS`.
        place: Row and column among the 6 x 6 places.
    """

    digit: int
    colour: str
    place: tuple[int, int]

    @property
    def patches(self) -> tuple[int, ...]:
        """The four patches that the digit fills: ascending indices into the 144 patches, row by row."""
        top, left = self.place[0] * BLOCK, self.place[1] * BLOCK
        return tuple((top + r) * GRID + left + c for r in range(BLOCK) for c in range(BLOCK))

    @property
    def quadrant(self) -> str:
        """The quarter of the picture that holds the digit (no place straddles two)."""
        return QUADRANTS[2 * (self.place[0] >= PLACES // 2) + (self.place[1] >= PLACES // 2)]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the digits in it.

    Attributes:
        image: uint8 [96, 96, 3]; larger after `analysis.with_enough_tokens`.
        digits: Two to six digits, each in a colour of its own; not needed for a picture of a user's own.
    """

    image: np.ndarray
    digits: tuple[Digit, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question about a scene, with its answer and the patches one has to see to answer it.

    Attributes:
        kind: One of QUESTION_KINDS.
        text: The question in words.
        answer: The answer, one word.
        relevant: Indices of the patches that the question is about, ascending; empty where the answer is "no", since
            then nothing in the picture is asked about.
        objects: Indices of the patches of all digits, ascending.
    """

    kind: str
    text: str
    answer: str
    relevant: tuple[int, ...] = ()
    objects: tuple[int, ...] = ()


Questions = list[tuple[Scene, Question]]


def scene(split: str, seed: int, index: int) -> Scene:
    """One scene; the same arguments give the same scene, bit for bit.

    Args:
        split: "train" or "test"; no handwritten digit is in both.
        seed: The seed of the data set.
        index: The scene's number in it.

    Raises:
        ValueError: `split` is neither of these, or `seed` or `index` is no int of 0 or more.
    """
    one_of("split", split, SPLITS)
    seed, index = seed_number(seed), whole_number("index", index, 0)
    rng = np.random.default_rng([SPLITS.index(split), seed, index])
    n_digits = int(rng.integers(2, 2 + len(COUNTS)))
    numbers = rng.permutation(10)[:n_digits]
    colours = rng.permutation(list(COLOURS))[:n_digits]
    places = rng.permutation(PLACES**2)[:n_digits]
    digits = tuple(
        Digit(int(d), str(c), divmod(int(p), PLACES)) for d, c, p in zip(numbers, colours, places, strict=True)
    )
    image = photograph_crop(rng)
    for digit in digits:
        draw_digit(image, digit.place, digit.colour, written_digit(split, digit.digit, rng))
    return Scene(image.round().astype(np.uint8), digits)


def question(scene: Scene, kind: str, rng: np.random.Generator) -> Question:
    """One question about a scene; the answer of "is-there" is yes or no with equal probability, whatever the scene.

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
    objects = tuple(sorted(p for digit in scene.digits for p in digit.patches))
    digit = scene.digits[rng.integers(len(scene.digits))]
    if kind == "what":
        return Question(kind, f"what digit is {digit.colour}", str(digit.digit), digit.patches, objects)
    if kind == "colour":
        return Question(kind, f"what colour is {digit.digit}", digit.colour, digit.patches, objects)
    if kind == "where":
        return Question(kind, f"where is the {digit.digit}", digit.quadrant, digit.patches, objects)
    if kind == "how-many":
        return Question(kind, "how many digits", COUNTS[len(scene.digits) - 2], objects, objects)
    if rng.random() < 0.5:
        return Question(kind, f"is there a {digit.digit}", "yes", digit.patches, objects)
    absent = sorted(set(range(10)) - {digit.digit for digit in scene.digits})
    return Question(kind, f"is there a {absent[rng.integers(len(absent))]}", "no", (), objects)


def sample(n: int, split: str = "test", seed: int = 0, kinds: Iterable[str] = QUESTION_KINDS) -> Questions:
    """The first `n` scenes of a data set with one question each.

    Args:
        n: The number of scenes.
        split: "train" or "test"; no handwritten digit is in both.
        seed: The seed of the data set.
        kinds: Kinds of questions, which take turns.

    Raises:
        ValueError: `split` or a kind is unknown, there is no kind, or `n` or `seed` is no int of 0 or more.
    """
    n, seed, kinds = whole_number("n", n, 0), seed_number(seed), _kinds(kinds)
    one_of("split", split, SPLITS)
    drawn = (scene(split, seed, i) for i in range(n))
    # The trailing 1 keeps the question's stream apart from the scene's.
    rngs = (np.random.default_rng([SPLITS.index(split), seed, i, 1]) for i in range(n))
    return [(s, question(s, kinds[i % len(kinds)], rng)) for i, (s, rng) in enumerate(zip(drawn, rngs, strict=True))]


def questions_each(n_scenes: int, seed: int = 0) -> tuple[Questions, list[int]]:
    """Held-out scenes with a question of every kind about each of them.

    Args:
        n_scenes: The number of scenes.
        seed: The seed of scenes and questions.

    Returns:
        Two values: the questions, and for each of them the number of its scene.

    Raises:
        ValueError: `n_scenes` or `seed` is no int of 0 or more.
    """
    n_scenes, seed = whole_number("n_scenes", n_scenes, 0), seed_number(seed)
    drawn = [scene("test", seed, i) for i in range(n_scenes)]
    # The streams of scenes begin with 0 or 1, the number of their split; these begin with 2.
    rngs = [np.random.default_rng([2, seed, i]) for i in range(n_scenes)]
    questions = [(s, question(s, kind, rng)) for s, rng in zip(drawn, rngs, strict=True) for kind in QUESTION_KINDS]
    return questions, [i for i in range(n_scenes) for _ in QUESTION_KINDS]


def words() -> list[str]:
    """Every word that a question or an answer may contain, in a fixed order."""
    asked = "what digit is colour where the how many digits there a yes no".split()
    return [*asked, *map(str, range(10)), *COLOURS, *COUNTS, *QUADRANTS]


def _kinds(kinds: Iterable[str]) -> list[str]:
    listed = list(kinds) if isinstance(kinds, Iterable) and not isinstance(kinds, str) else []
    if not listed:
        raise ValueError(f"kinds must be a list of kinds of questions, at least one; got {kinds!r}.")
    return [one_of("each of kinds", kind, QUESTION_KINDS) for kind in listed]
