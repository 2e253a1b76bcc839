"""Rows of prompts: what a request asks about what it shows, and which rows can be asked in one batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL.Image import Image
from transformers import BatchFeature

from analysis.models.loaded import Loaded


class Row(NamedTuple):
    """A question and what it is about.

    Attributes:
        text: The question.
        pictures: The pictures, which may be none.
        video: The frames of a video, uint8 [frames, height, width, 3], or None.
    """

    text: str
    pictures: list[Any]
    video: np.ndarray | None = None

    @property
    def image(self) -> list[Any]:
        """All that is shown, as `analysis.scenes.question_seeds` takes it."""
        return self.pictures if self.video is None else [*self.pictures, self.video]


def row(question: str, visuals: Sequence[Any] | None, read_video: Callable[[str], np.ndarray]) -> Row:
    """The row of a request.

    Args:
        question: The question.
        visuals: What the task shows: pictures, or the path of a video, or nothing.
        read_video: A function from a path to the frames of a video.

    Raises:
        ValueError: Something shown is neither, or there are several videos.
    """
    shown = list(visuals or [])
    pictures = [each for each in shown if isinstance(each, Image)]
    videos = [each for each in shown if isinstance(each, str)]
    if len(pictures) + len(videos) < len(shown) or len(videos) > 1:
        kinds = ", ".join(type(each).__name__ for each in shown)
        raise ValueError(f"a request must show pictures or the path of one video; got {kinds}: {question[:60]!r}.")
    return Row(question, pictures, read_video(videos[0]) if videos else None)


def grouped(keys: Iterable[Hashable]) -> list[list[int]]:
    """The places of each key, by the first place of each.

    >>> grouped(["a", "b", "a"])
    [[0, 2], [1]]
    """
    places: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return list(places.values())


def chunks(keys: Iterable[Hashable], lengths: Sequence[int], size: int) -> list[list[int]]:
    """The numbers of requests in chunks, those with long questions first, so that too little memory shows early.

    Args:
        keys: What must be equal within a chunk, for each request.
        lengths: The length of each question.
        size: The number of requests in a chunk, at most.

    >>> chunks(["a", "b", "a", "a"], [1, 5, 3, 2], 2)
    [[2, 3], [0], [1]]
    """
    ordered = [sorted(same, key=lambda number: -lengths[number]) for same in grouped(keys)]
    return [same[start : start + size] for same in ordered for start in range(0, len(same), size)]


def batches(
    loaded: Loaded, rows: Sequence[Row], one_length: bool
) -> Iterator[tuple[list[int], BatchFeature, list[int]]]:
    """Rows as batches of the same kind of visuals, and of videos of one length, which every family takes.

    Args:
        loaded: Model and processor.
        rows: The rows.
        one_length: Whether all rows of a batch must have the same number of vision tokens.

    Yields:
        The numbers of the rows of a batch, its inputs, and the number of vision tokens of each.
    """
    for numbers in grouped((bool(row.pictures), None if row.video is None else len(row.video)) for row in rows):
        inputs, counts = _inputs(loaded, [rows[number] for number in numbers])
        if not one_length or len(set(counts)) == 1:
            yield numbers, inputs, counts
            continue
        for places in grouped(counts):
            same = [numbers[place] for place in places]
            yield same, *_inputs(loaded, [rows[number] for number in same])


def _inputs(loaded: Loaded, rows: Sequence[Row]) -> tuple[BatchFeature, list[int]]:
    videos = [each.video for each in rows] if any(each.video is not None for each in rows) else None
    inputs = loaded.inputs([each.pictures for each in rows], [each.text for each in rows], videos)
    return inputs, [len(places) for places in loaded.vision_positions(inputs)]
