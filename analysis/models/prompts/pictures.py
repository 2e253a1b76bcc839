"""Pictures and videos as processors take them without guessing which axis holds the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from PIL.Image import Image

MORE_THAN_8_BITS = ("I", "F")  # first letters of PIL's modes that a conversion to RGB would clip to white


def rows(pictures: Any, n: int) -> list[list[Image]]:
    """The pictures of each row as a list of PIL images, each turned as a camera's EXIF data say and viewers show it.

    Processors take an array whose first axis is 1, 3 or 4 long for one with channels first; of a PIL image they know.

    Args:
        pictures: One entry for each row: a picture, a list of pictures, or None. None if no row has a picture.
        n: The number of rows.

    Raises:
        ValueError: The number of rows is another, or an entry is not a picture.
    """
    if pictures is not None and (not isinstance(pictures, Sequence) or isinstance(pictures, str)):
        raise ValueError(
            "images must be a list with one entry a question, as in inputs([picture], ['What is it?']); got one "
            f"{type(pictures).__name__}."
        )
    given = [None] * n if pictures is None else list(pictures)
    if len(given) != n:
        raise ValueError(f"images must have one entry a question, {n} of them; got {len(given)}.")
    listed = [list(row) if isinstance(row, (list, tuple)) else [] if row is None else [row] for row in given]
    return [[_picture(picture) for picture in row] for row in listed]


def _picture(picture: Any) -> Image:
    if isinstance(picture, Image):
        valid = min(picture.size) > 0 and not picture.mode.startswith(MORE_THAN_8_BITS)
        description = f"one of mode {picture.mode!r} and size {picture.size}"
    elif isinstance(picture, np.ndarray):
        valid = picture.ndim == 3 and picture.shape[-1] == 3 and picture.dtype == np.uint8 and picture.size > 0
        description = f"{picture.dtype} {list(picture.shape)}"
    else:
        valid, description = False, type(picture).__name__
    if not valid:
        raise ValueError(
            f"a picture must be uint8 [height, width, 3] or a PIL image of 8 bits a channel; got {description}."
        )
    return PIL.ImageOps.exif_transpose(picture) if isinstance(picture, Image) else PIL.Image.fromarray(picture)


def frames(video: Any) -> np.ndarray:
    """A video as one uint8 array [frames, 3, height, width].

    Args:
        video: A uint8 array [frames, height, width, 3], or a list of pictures.

    Raises:
        ValueError: The video is neither, or its pictures have different sizes.
    """
    shots = [np.asarray(frame) for frame in video] if isinstance(video, (list, tuple)) else []
    if len({shot.shape for shot in shots}) > 1:
        raise ValueError(f"frames of a video must have one size; got {sorted({shot.shape for shot in shots})}.")
    array = np.stack(shots) if shots else np.asarray(video)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(
            f"a video must be uint8 [frames, height, width, 3] or a list of such pictures; got {array.dtype} "
            f"{list(array.shape)}. Decode a file first, and take as many frames as the model is to see."
        )
    # Channels first: an axis of 3 there is always taken for the channels, however high or wide the frames are.
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
