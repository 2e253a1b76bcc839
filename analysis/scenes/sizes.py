"""Scenes at a size at which a model cuts the picture into enough tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.scenes.asked import asked
from analysis.scenes.mosaic import SIDE, Scene
from analysis.scenes.questions import Questions

STEP, LARGEST = SIDE // 2, 8 * SIDE  # pixels: sides that are tried are so far apart, and as large as this


def with_enough_tokens(loaded: Loaded, questions: Questions) -> Questions:
    """The questions with their pictures enlarged, if the model would cut them into fewer tokens than they have patches.

    Families that cut a picture into patches of a fixed size (Qwen2-VL: one token for 28 x 28 pixels) have few tokens
    for a small one, so that little is left to drop.

    Args:
        loaded: Model and processor.
        questions: Scenes of one size with a question each.

    Returns:
        The questions, as they were if the first picture has a token a patch or more. Otherwise all pictures have
        the smallest side that gives so many, or as many as the model gives at all.

    Raises:
        ValueError: `loaded` is no model with its processor, or something else is asked about than scenes.
    """
    check_loaded(loaded)
    questions = list(questions)
    if not questions:
        return questions
    for number, (scene, _) in enumerate(asked(questions)):
        if not isinstance(scene, Scene):
            raise ValueError(f"questions must be about scenes, as sample(3) gives them; number {number} is not.")
    first, most = questions[0][0], {}
    for side in range(len(first.image), LARGEST + 1, STEP):
        most[side] = sum(grid.n_tokens for grid in loaded.token_grids(enlarged(first, side).image))
        if most[side] >= first.grid**2:
            break
    side = max(most, key=most.get)
    return [(enlarged(scene, side), question) for scene, question in questions]


def enlarged(scene: Scene, side: int) -> Scene:
    """A scene with its picture scaled (bicubic) to `side` x `side` pixels; the same scene if it has that size."""
    if scene.image.shape[:2] == (side, side):
        return scene
    picture = Image.fromarray(scene.image).resize((side, side), Image.Resampling.BICUBIC)
    return replace(scene, image=np.array(picture))
