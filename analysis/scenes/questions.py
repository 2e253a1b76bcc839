"""Questions about mosaics: ten kinds, with one-word answers and the patches one has to see, look by look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.scenes.facts import TextQuestion, TextScene
from analysis.scenes.mosaic import SIDE, Digit, Scene, scene
from analysis.scenes.photographs import SPLITS
from analysis.scenes.question_kinds import KINDS, QUESTION_KINDS
from v2drop.arguments import one_of, seed_number, whole_number


@dataclass(frozen=True)
class Question:
    """A question about a scene, with its answer and the patches one has to see to answer it.

    Attributes:
        kind: One of QUESTION_KINDS.
        text: The question in words.
        answer: The answer, one word.
        relevant: Indices of the patches that the question is about, ascending; empty where it is about nothing in the
            picture ("no", "zero").
        objects: Indices of the patches of all digits, ascending.
        second: Those of `relevant` that one looks at only after another digit was found: the red one's left neighbour,
            where the question names the red one. Empty where one look is enough.
    """

    kind: str
    text: str
    answer: str
    relevant: tuple[int, ...] = ()
    objects: tuple[int, ...] = ()
    second: tuple[int, ...] = ()


Questions = list[tuple[Scene | TextScene, Question | TextQuestion]]  # those with texts are for text models


def question(scene: Scene, kind: str, rng: np.random.Generator) -> Question:
    """One question about a scene; answers yes and no are equally probable, and counts that the scene allows.

    Args:
        scene: The scene that is asked about.
        kind: One of QUESTION_KINDS.
        rng: The generator that draws the digit asked about.

    Raises:
        ValueError: `kind` is not one of QUESTION_KINDS, or there are no digits to ask about.
    """
    one_of("kind", kind, QUESTION_KINDS)
    if not scene.digits:
        raise ValueError("a scene must have digits to be asked about; got one without.")
    text, answer, first, second = KINDS[kind](scene, rng)
    return Question(
        kind, text, answer, _patches([*first, *second]), _patches(scene.digits), _patches(second) if second else ()
    )


def sample(
    n: int, split: str = "test", seed: int = 0, kinds: Iterable[str] | None = None, side: int = SIDE
) -> Questions:
    """The first `n` scenes of a data set with one question each.

    Args:
        n: The number of scenes.
        split: "train" or "test"; no handwritten digit and no photograph is in both.
        seed: The seed of the data set.
        kinds: Kinds of questions, which take turns; None for all.
        side: Width and height of the pictures, one of `mosaic.PICTURE_SIDES`.

    Raises:
        ValueError: `split`, `side` or a kind is unknown, there is no kind, or `n` or `seed` is no int of 0 or more.
    """
    n, seed, kinds = whole_number("n", n, 0), seed_number(seed), _kinds(kinds)
    one_of("split", split, SPLITS)
    drawn = (scene(split, seed, i, side) for i in range(n))
    # The trailing 1 keeps the question's stream apart from the scene's.
    rngs = (np.random.default_rng([SPLITS.index(split), seed, i, side, 1]) for i in range(n))
    return [(s, question(s, kinds[i % len(kinds)], rng)) for i, (s, rng) in enumerate(zip(drawn, rngs, strict=True))]


def questions_each(n_scenes: int, seed: int = 0, side: int = SIDE) -> tuple[Questions, list[int]]:
    """Held-out scenes with a question of every kind about each of them.

    Args:
        n_scenes: The number of scenes.
        seed: The seed of scenes and questions.
        side: Width and height of the pictures, one of `mosaic.PICTURE_SIDES`.

    Returns:
        Two values: the questions, and for each of them the number of its scene.

    Raises:
        ValueError: `n_scenes` or `seed` is no int of 0 or more, or `side` is none of these.
    """
    n_scenes, seed = whole_number("n_scenes", n_scenes, 0), seed_number(seed)
    drawn = [scene("test", seed, i, side) for i in range(n_scenes)]
    # The streams of scenes begin with 0 or 1, the number of their split; these begin with 2.
    rngs = [np.random.default_rng([2, seed, i, side]) for i in range(n_scenes)]
    asked = [(s, question(s, kind, rng)) for s, rng in zip(drawn, rngs, strict=True) for kind in QUESTION_KINDS]
    return asked, [i for i in range(n_scenes) for _ in QUESTION_KINDS]


def _patches(digits: Iterable[Digit]) -> tuple[int, ...]:
    return tuple(sorted({patch for digit in digits for patch in digit.patches}))


def _kinds(kinds: Iterable[str] | None) -> list[str]:
    if kinds is None:
        return list(QUESTION_KINDS)
    listed = list(kinds) if isinstance(kinds, Iterable) and not isinstance(kinds, str) else []
    if not listed:
        raise ValueError(f"kinds must be a list of kinds of questions, at least one; got {kinds!r}.")
    return [one_of("each of kinds", kind, QUESTION_KINDS) for kind in listed]
