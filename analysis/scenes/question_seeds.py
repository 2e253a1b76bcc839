"""Seeds of draws by what is asked: a draw belongs to (seed, question, layer), whatever else is in the batch or set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL.Image import Image

from analysis.scenes.asked import material
from v2drop import Composed, Method
from v2drop.arguments import LARGEST_SEED
from v2drop.methods.seeded import Seeded

BITS = 2**63 - 1  # of a seed for numpy; torch takes the lower 32 of them


def question_seeds(seed: int, questions: Sequence[tuple[Any, Any]]) -> tuple[int, ...]:
    """A seed for each question, from its words, the pixels of its pictures, and a seed of the caller's.

    The same on every machine and in every run.

    Args:
        seed: The caller's seed; another one gives independent draws.
        questions: Pairs as for `analysis.accuracy`.
    """
    return tuple(_hash(f"{seed} {question.text}", _pictures(material(scene))) for scene, question in questions)


def has_seed(method: Any) -> bool:
    """Whether what a method keeps depends on a seed."""
    parts = [part for _, part in method.methods] if isinstance(method, Composed) else [method]
    return any(isinstance(part, Seeded) for part in parts)


def with_question_seeds(method: Method, questions: Sequence[tuple[Any, Any]], draw: int = 0) -> Method:
    """A method for one batch of questions, whose draws are each question's own; a method without a seed as it is.

    Args:
        method: The method.
        questions: The questions of the batch, in the order of its rows.
        draw: The number of the draw, from 0: the seed is that many higher.

    Raises:
        ValueError: The method has a seed for each row already.
    """
    if isinstance(method, Composed):
        parts = [(layer, with_question_seeds(part, questions, draw)) for layer, part in method.methods]
        return replace(method, methods=tuple(parts))
    if not isinstance(method, Seeded):
        return method
    if not isinstance(method.seed, int):
        raise ValueError(
            "a method's seed must be one int here, since every question gets a seed of its own from it; got "
            f"{len(method.seed)} seeds."
        )
    seeds = question_seeds(method.seed + draw, questions)
    return replace(method, seed=tuple(seed & LARGEST_SEED for seed in seeds))


def _pictures(given: Any) -> list[np.ndarray]:
    """The pixels of what a scene shows, a picture, a list of pictures, or none; the bytes of a text."""
    if isinstance(given, str):
        return [np.frombuffer(given.encode(), np.uint8)]
    pictures = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
    return [np.asarray(each.convert("RGB") if isinstance(each, Image) else each) for each in pictures]


def _hash(text: str, pictures: Iterable[np.ndarray]) -> int:
    known = hashlib.blake2b(text.encode(), digest_size=8)
    for pixels in pictures:
        known.update(f"\0{pixels.dtype} {pixels.shape}\0".encode())
        known.update(np.ascontiguousarray(pixels).tobytes())
    return int.from_bytes(known.digest(), "big") & BITS
