"""What may be asked: pairs of a scene and a question, one or more, and the prompts that a model makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import BatchFeature

from analysis.models.loaded import Loaded
from analysis.scenes.questions import Questions


def asked(questions: Any, *needed: str) -> Questions:
    """The questions as a list of pairs, one or more.

    Args:
        questions: Pairs (scene, question), as functions of `analysis` take them. Any objects do, with `scene.image`, or
            `scene.text` for a text model, and `question.text`.
        *needed: The attributes that are read of each question, if others than `text`.

    Raises:
        ValueError: There is no question, or something that is no such pair.
    """
    pairs = list(questions) if isinstance(questions, Iterable) and not isinstance(questions, (str, dict)) else []
    if not pairs:
        raise ValueError(f"questions must be a list of pairs (scene, question), one or more; got {questions!r}.")
    for number, pair in enumerate(pairs):
        good = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not good or not _has_material(pair[0]) or not hasattr(pair[1], "text"):
            raise ValueError(
                f"questions must be pairs (scene, question), as sample(3) gives them; got {str(pair)[:80]} as number "
                f"{number}."
            )
        lacking = [name for name in needed if not hasattr(pair[1], name)]
        if lacking:
            raise ValueError(
                f"every question must have {', '.join(needed)}; question {number}, {pair[1].text!r}, has no "
                f"{', '.join(lacking)}."
            )
    return [tuple(pair) for pair in pairs]


def prompts(loaded: Loaded, questions: Questions) -> BatchFeature:
    """The batch of prompts of some questions (`Loaded.inputs`).

    Args:
        loaded: Model and processor.
        questions: Checked pairs (scene, question).
    """
    return loaded.inputs([material(scene) for scene, _ in questions], [question.text for _, question in questions])


def material(scene: Any) -> Any:
    """What a question is asked about: a scene's picture or pictures, or its text."""
    return scene.image if hasattr(scene, "image") else scene.text


def picture_of(scene: Any) -> Any:
    """A scene's picture or pictures.

    Raises:
        ValueError: It is a text.
    """
    if not hasattr(scene, "image"):
        raise ValueError(f"the question must be about a picture here; got one about a text, {scene.text[:40]!r} ...")
    return scene.image


def _has_material(scene: Any) -> bool:
    return hasattr(scene, "image") or hasattr(scene, "text")
