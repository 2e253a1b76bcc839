"""The runs of recorded answers: what tells them apart, and how often each draws."""

from __future__ import annotations

from typing import Any, NamedTuple

from analysis.comparison.accuracy import NOTHING_DROPPED

RANDOM_DRAWS, OTHER_DRAWS = 16, 4  # of random dropping, and of other methods that draw


class Key(NamedTuple):
    """What tells the runs of a study apart.

    Attributes:
        method: The method's name in the frame.
        budget: Vision tokens: their true layer average, or the number (or share) that is left behind a single drop.
        layers: The drop layers, "1, 6, 8"; "none" for the model itself, "own" for each method's own.
        draw: The number of the first draw.
    """

    method: str
    budget: float | int
    layers: str
    draw: int = 0


Runs = dict[Key, Any]  # methods as for `accuracy`


def nothing_dropped(n_tokens: float | int) -> Runs:
    """The model itself, whose budget are all tokens of a prompt, or all of them as a share."""
    return {Key(NOTHING_DROPPED, n_tokens, "none"): None}


def layers_text(layers: tuple[int, ...]) -> str:
    """Drop layers as they stand in a key.

    >>> layers_text((1, 6, 8))
    '1, 6, 8'
    """
    return ", ".join(map(str, layers))
