"""A scene of two digits at known patches, and a question about one of them."""

import numpy as np

from analysis.scenes.mosaic import Digit, Scene
from analysis.scenes.questions import Question

THINGS = (Digit(7, "red", (16, 64), 16, (32, 33, 44, 45)), Digit(2, "blue", (80, 0), 16, (120, 121, 132, 133)))


RIGHT, OTHER = THINGS[0].patches, THINGS[1].patches


def asked(relevant=RIGHT, kind="what"):
    scene = Scene(np.zeros((96, 96, 3), dtype=np.uint8), THINGS)
    return [(scene, Question(kind, "what digit is red", "7", relevant, tuple(sorted(RIGHT + OTHER))))]
