"""Grids over the subjects that are there, each with as many questions as it can be asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analysis.confirmation import confirmatory_seed
from analysis.studies.cells.models import is_there
from analysis.studies.cells.study import Arguments, grid

SEED = confirmatory_seed("08_ablations")
# Slices of the questions, and draws of methods that draw: the embedded model answers 50 a second, 30 layers one or two.
ASKED = {
    "embedded": {"first": [0, 200], "n": [200], "draws": [4], "seed": [SEED]},
    "smollm2": {"first": [0], "n": [60], "draws": [2], "seed": [SEED], "max_new_tokens": [1]},
    "mosaic_smollm2": {"first": [0], "n": [60], "draws": [2], "seed": [SEED]},
}


def on_subjects(subjects: Sequence[str] = tuple(ASKED), **axes: Iterable[Any]) -> list[Arguments]:
    """The grid of some axes for each of the subjects that is there, with the slices of its questions.

    Args:
        subjects: Keys of `analysis.SUBJECTS`.
        **axes: As for `grid`.
    """
    there = [subject for subject in subjects if is_there(subject)]
    return [cell for subject in there for cell in grid(subject=[subject], **axes, **ASKED[subject])]
