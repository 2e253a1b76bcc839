"""The pixels of a mosaic: handwritten digits in colour, over clutter, on darkened crops of photographs."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from analysis.scenes.photographs import SPLITS, photograph_crop
from v2drop.arguments import one_of

PATCH = 8  # pixels a patch is wide
COLOURS = {
    "red": (255, 40, 40),
    "orange": (255, 150, 0),
    "yellow": (255, 255, 60),
    "green": (50, 220, 50),
    "cyan": (60, 240, 255),
    "blue": (70, 100, 255),
    "pink": (255, 90, 230),
    "white": (255, 255, 255),
}
PHOTO_BRIGHTNESS = 0.5  # a darker photograph leaves the strokes legible, to the eye as to the model
CLUTTER_BRIGHTNESS = 110  # of its colours, at most, out of 255
LEAST_INK = 0.04  # the share of a digit's ink from which on a patch counts as one of its patches


@cache
def glyphs(split: str) -> dict[int, np.ndarray]:
    """The handwritten digits of a split: by digit, opacities float64 [count, 8, 8] in [0, 1].

    70 % of the 1797 digits train, 30 % test, stratified by digit; no image is in both.

    Raises:
        ValueError: `split` is not one of SPLITS.
    """
    one_of("split", split, SPLITS)
    data = load_digits()
    parts = train_test_split(data.images, data.target, test_size=0.3, random_state=0, stratify=data.target)
    images, labels = parts[SPLITS.index(split)], parts[2 + SPLITS.index(split)]
    return {digit: images[labels == digit] / 16 for digit in range(10)}


def background(split: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A darkened crop of a photograph with translucent shapes over it, float64 [side, side, 3] in 0 to 255.

    Turned and mirrored at random in the end: photographs are brighter at the top, shapes lie below their corner.
    """
    image = photograph_crop(split, side, rng) * PHOTO_BRIGHTNESS
    clutter = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(clutter)
    for _ in range(int(rng.integers(4, 4 + side // 12))):
        x, y = rng.integers(-8, side, 2).tolist()
        width, height = rng.integers(5, side // 3, 2).tolist()
        colour = (*rng.integers(CLUTTER_BRIGHTNESS, size=3).tolist(), int(rng.integers(90, 200)))
        shape = int(rng.integers(3))
        if shape == 0:
            draw.line((x, y, x + width, y + height - side // 6), colour, int(rng.integers(1, 4)))
        else:
            (draw.ellipse if shape == 1 else draw.rectangle)((x, y, x + width, y + height), colour)
    drawn = np.asarray(clutter, dtype=np.float64)
    covered = image + drawn[..., 3:] / 255 * (drawn[..., :3] - image)
    turned = np.rot90(covered, rng.integers(4))
    return np.ascontiguousarray(turned[:, ::-1] if rng.integers(2) else turned)


def written_digit(split: str, digit: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """A handwritten digit as opacity [side, side], turned, stretched and shifted, twice as much in training."""
    written = glyphs(split)[digit]
    much = 2.0 if split == "train" else 1.0
    angle, (stretch_y, stretch_x) = rng.normal(0, 0.08 * much), rng.normal(1, 0.05 * much, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([stretch_y, stretch_x]) * 8 / side
    offset = np.array([3.5, 3.5]) - matrix @ np.full(2, (side - 1) / 2) + rng.normal(0, 0.25 * much, 2)
    return affine_transform(written[rng.integers(len(written))], matrix, offset, (side, side), order=1)


def draw_digit(image: np.ndarray, corner: tuple[int, int], colour: str, opacity: np.ndarray) -> tuple[int, ...]:
    """Paint a digit into a picture, in place.

    Args:
        image: The picture, float64 [side, side, 3].
        corner: The digit's first row and column of pixels.
        colour: A key of COLOURS.
        opacity: The opacity of the digit, square, in [0, 1].

    Returns:
        The patches that hold a share LEAST_INK or more of the digit's ink, ascending, row by row.
    """
    (top, left), extent = corner, len(opacity)
    window = image[top : top + extent, left : left + extent]
    window += opacity[..., None] * (np.array(COLOURS[colour]) - window)
    ink, n = np.zeros(image.shape[:2]), len(image) // PATCH
    ink[top : top + extent, left : left + extent] = opacity
    shares = ink.reshape(n, PATCH, n, PATCH).sum((1, 3)).flatten() / opacity.sum()
    return tuple(np.flatnonzero(shares >= LEAST_INK).tolist())
