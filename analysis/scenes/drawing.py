"""The pixels of a mosaic: handwritten digits in colour on crops of photographs, all of them scikit-learn's."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split

from v2drop.arguments import one_of

PATCH, GRID, BLOCK = 8, 12, 2  # pixels a patch, patches a side, patches a digit is wide
SIZE = PATCH * GRID
SPLITS = ("train", "test")
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
PHOTO_BRIGHTNESS = 0.55  # a darker photograph leaves the strokes legible, to the eye as to the model


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


@cache
def _photographs() -> tuple[Image.Image, ...]:
    return tuple(Image.fromarray(image) for image in load_sample_images().images)


def photograph_crop(rng: np.random.Generator) -> np.ndarray:
    """A darkened square crop of a photograph, float64 [96, 96, 3] in 0 to 255."""
    photo = _photographs()[rng.integers(len(_photographs()))]
    side = int(rng.integers(SIZE, min(photo.size) + 1))
    left, top = (int(rng.integers(extent - side + 1)) for extent in photo.size)
    crop = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    return np.asarray(crop, dtype=np.float64) * PHOTO_BRIGHTNESS


def written_digit(split: str, digit: int, rng: np.random.Generator) -> np.ndarray:
    """A handwritten digit as opacity [16, 16], turned, stretched and shifted at random, twice as much in training."""
    written = glyphs(split)[digit]
    much = 2.0 if split == "train" else 1.0
    angle, (stretch_y, stretch_x) = rng.normal(0, 0.08 * much), rng.normal(1, 0.05 * much, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    out = BLOCK * PATCH
    matrix = turn @ np.diag([stretch_y, stretch_x]) * 8 / out
    offset = np.array([3.5, 3.5]) - matrix @ np.full(2, (out - 1) / 2) + rng.normal(0, 0.25 * much, 2)
    return affine_transform(written[rng.integers(len(written))], matrix, offset, (out, out), order=1)


def draw_digit(image: np.ndarray, place: tuple[int, int], colour: str, opacity: np.ndarray) -> None:
    """Paint a digit into a picture, in place.

    Args:
        image: The picture, float64 [96, 96, 3].
        place: Row and column among the 6 x 6 places.
        colour: A key of COLOURS.
        opacity: The opacity of the digit, [16, 16] in [0, 1].
    """
    top, left = (BLOCK * PATCH * p for p in place)
    window = image[top : top + BLOCK * PATCH, left : left + BLOCK * PATCH]
    window += opacity[..., None] * (np.array(COLOURS[colour]) - window)
