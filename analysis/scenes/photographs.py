"""The photographs behind the digits: which, where from, under what licence, and in which split."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

from v2drop.arguments import one_of

SPLITS = ("train", "test")
SHORTER_SIDE = 320  # pixels, at most: more is not seen in a crop of 72 to 120, and takes time to scale


class Photograph(NamedTuple):
    """Where a photograph comes from.

    Attributes:
        package: The package whose wheel holds the file.
        split: The only split that shows it.
        licence: As the package states it, and who gave it.
    """

    package: str
    split: str
    licence: str


PHOTOGRAPHS = {
    "china": Photograph("scikit-learn", "train", "CC BY 2.0, Danielle Buma"),
    "astronaut": Photograph("scikit-image", "train", "public domain, NASA"),
    "brick": Photograph("scikit-image", "train", "CC0, CC0Textures"),
    "camera": Photograph("scikit-image", "train", "CC0, Lav Varshney"),
    "cell": Photograph("scikit-image", "train", "CC0, from PLoS ONE"),
    "clock": Photograph("scikit-image", "train", "public domain, Stefan van der Walt"),
    "coffee": Photograph("scikit-image", "train", "CC0, Rachel Michetti"),
    "grass": Photograph("scikit-image", "train", "CC0, CC0Textures"),
    "hubble_deep_field": Photograph("scikit-image", "train", "public domain, NASA"),
    "retina": Photograph("scikit-image", "train", "CC0, Häggström"),
    "flower": Photograph("scikit-learn", "test", "CC BY 2.0, vultilion"),
    "chelsea": Photograph("scikit-image", "test", "CC0, Stefan van der Walt"),
    "gravel": Photograph("scikit-image", "test", "CC0, CC0Textures"),
    "rocket": Photograph("scikit-image", "test", "public domain, SpaceX"),
    "text": Photograph("scikit-image", "test", "public domain"),
}


@cache
def photographs(split: str) -> tuple[Image.Image, ...]:
    """The photographs of a split, RGB.

    Raises:
        ValueError: `split` is not one of SPLITS.
    """
    one_of("split", split, SPLITS)
    return tuple(_reduced(_read(name)) for name, photo in PHOTOGRAPHS.items() if photo.split == split)


def _read(name: str) -> Image.Image:
    if PHOTOGRAPHS[name].package == "scikit-learn":
        return Image.fromarray(load_sample_image(f"{name}.jpg"))
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def _reduced(photo: Image.Image) -> Image.Image:
    scale = min(1, SHORTER_SIDE / min(photo.size))
    return photo.resize(tuple(round(length * scale) for length in photo.size), Image.Resampling.BILINEAR)


def photograph_crop(split: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square crop of a photograph of a split, scaled to `side`: float64 [side, side, 3] in 0 to 255."""
    choices = photographs(split)
    photo = choices[rng.integers(len(choices))]
    extent = int(rng.integers(min(side, *photo.size), min(photo.size) + 1))
    left, top = (int(rng.integers(length - extent + 1)) for length in photo.size)
    crop = photo.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + extent, top + extent))
    return np.asarray(crop, dtype=np.float64)
