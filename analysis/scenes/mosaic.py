"""Digit mosaics: scenes whose questions, answers and relevant patches are known.

A scene is a square RGB picture: three to six real handwritten digits (scikit-learn's) of several sizes, in colours,
anywhere, over clutter on a crop of a real photograph (`photographs`). One digit is clearly the largest, one value
occurs twice, one colour two or three times, so that every kind of question (`questions`) can be asked of every scene.
The picture is cut into patches of 8 pixels, the vision tokens of the embedded model: 9 x 9, 12 x 12 or 15 x 15 by the
picture's size. Neither layout nor background has a preferred direction (their law is the same after flips and turns),
so whatever end is favoured, the model or the criterion does it; patches at the border show a digit less often than
inner ones.

Everything is a function of (split, seed, index, side): scene 7 is the same scene however many are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.scenes.drawing import COLOURS, PATCH, background, draw_digit, written_digit
from analysis.scenes.photographs import SPLITS
from analysis.scenes.relations import DIRECTIONS, neighbour, quadrant
from v2drop.arguments import one_of, seed_number, whole_number

PICTURE_SIDES = (72, 96, 120)  # pixels
SIDE = 96  # where nothing else is said
N_DIGITS = (3, 4, 5, 6)
SMALL, LARGEST = (15, 20), (24, 30)  # pixels a digit is wide, half-open ranges


@dataclass(frozen=True)
class Digit:
    """A coloured digit in a scene.

    Attributes:
        digit: 0 to 9.
        colour: A key of `analysis.scenes.drawing.COLOURS`.
        corner: Its first row and column of pixels.
        extent: Its width and height, in pixels.
        patches: The patches that show it: ascending indices, row by row.
    """

    digit: int
    colour: str
    corner: tuple[int, int]
    extent: int
    patches: tuple[int, ...] = ()

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of its middle, in pixels."""
        return self.corner[0] + self.extent / 2, self.corner[1] + self.extent / 2


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the digits in it.

    Attributes:
        image: uint8 [side, side, 3]; larger after `analysis.with_enough_tokens`.
        digits: Three to six digits; not needed for a picture of a user's own.
        grid: The number of patches in a row of the picture as it was drawn.
    """

    image: np.ndarray
    digits: tuple[Digit, ...] = ()
    grid: int = SIDE // PATCH


def scene(split: str, seed: int, index: int, side: int = SIDE) -> Scene:
    """One scene; the same arguments give the same scene, bit for bit.

    Args:
        split: "train" or "test"; no handwritten digit and no photograph is in both.
        seed: The seed of the data set.
        index: The scene's number in it.
        side: Width and height of the picture, one of PICTURE_SIDES.

    Raises:
        ValueError: `split` or `side` is none of these, or `seed` or `index` is no int of 0 or more.
    """
    one_of("split", split, SPLITS)
    one_of("side", side, PICTURE_SIDES)
    seed, index = seed_number(seed), whole_number("index", index, 0)
    rng = np.random.default_rng([SPLITS.index(split), seed, index, PICTURE_SIDES.index(side)])
    n = int(rng.choice(N_DIGITS))
    described = list(zip(_values(n, rng), _colours(n, rng), strict=True))
    placed = _placed(described, side, rng)
    image = background(split, side, rng)
    drawn = []
    for digit in placed:
        opacity = written_digit(split, digit.digit, digit.extent, rng)
        patches = draw_digit(image, digit.corner, digit.colour, opacity)
        drawn.append(Digit(digit.digit, digit.colour, digit.corner, digit.extent, patches))
    return Scene(image.round().astype(np.uint8), tuple(drawn), side // PATCH)


def _values(n: int, rng: np.random.Generator) -> list[int]:
    """Values of `n` digits, of which exactly two are the same."""
    different = rng.permutation(10)[: n - 1].tolist()
    return rng.permutation([*different, different[0]]).tolist()


def _colours(n: int, rng: np.random.Generator) -> list[str]:
    """Colours of `n` digits: one of them two or three times, the others once, at least one of these."""
    times = 2 if n == 3 else int(rng.integers(2, 4))
    different = rng.permutation(list(COLOURS))[: n - times + 1].tolist()
    return rng.permutation([*different, *[different[0]] * (times - 1)]).tolist()


def _placed(described: list[tuple[int, str]], side: int, rng: np.random.Generator) -> list[Digit]:
    """Digits at places where none covers another, drawn again until every kind of question has a clear answer."""
    while True:
        extents = [int(rng.integers(*LARGEST)), *rng.integers(*SMALL, len(described) - 1).tolist()]
        digits: list[Digit] = []
        for (value, colour), extent in zip(described, extents, strict=True):
            corner = _free_corner(digits, extent, side, rng)
            if corner is None:
                break
            digits.append(Digit(value, colour, corner, extent))
        if len(digits) == len(described) and _clear(digits, side):
            return digits


def _free_corner(digits: list[Digit], extent: int, side: int, rng: np.random.Generator) -> tuple[int, int] | None:
    for _ in range(20):
        top, left = rng.integers(side - extent + 1, size=2).tolist()
        middle = (top + extent / 2, left + extent / 2)
        if all(
            max(abs(a - b) for a, b in zip(digit.centre, middle, strict=True)) >= (digit.extent + extent) / 2
            for digit in digits
        ):
            return top, left
    return None


def _clear(digits: list[Digit], side: int) -> bool:
    """Whether a digit of a colour of its own and one of a value of its own have a neighbour, one of these a quarter."""
    places = [digit.centre for digit in digits]
    has_neighbour = [any(neighbour(i, places, way) is not None for way in DIRECTIONS) for i in range(len(digits))]
    return (
        any(quadrant(places[i], side) for i in single(digits, "digit"))
        and any(has_neighbour[i] for i in single(digits, "colour"))
        and any(has_neighbour[i] for i in single(digits, "digit"))
    )


def single(digits: Sequence[Digit], name: str) -> list[int]:
    """The indices of the digits whose colour (or value: "digit") no other has."""
    values = [getattr(digit, name) for digit in digits]
    return [i for i, value in enumerate(values) if values.count(value) == 1]
