"""All methods on one model at the same true layer average."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import pandas as pd

from analysis.comparison.accuracy import accuracy
from analysis.models.loading import Loaded
from analysis.scenes.mosaic import Questions
from analysis.statistics.intervals import mean_by_group
from v2drop import METHODS, Method

NOTHING_DROPPED = "nothing dropped"


def methods_at_average(
    average: float | int, n_tokens: int, n_layers: int, names: Iterable[str] | None = None
) -> dict[str, Method]:
    """Every method at one true layer average, each dropping at its released depths (`Method.for_average`).

    Args:
        average: vision tokens.
        n_tokens: of a prompt, which has one picture.
        n_layers: of the decoder.
        names: in METHODS; by default all but those that compare frames, of which one picture has none.

    Raises:
        ValueError: a name is unknown, or a method cannot reach the average.
    """
    names = [name for name, kind in METHODS.items() if not kind.needs_frames] if names is None else list(names)
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        raise ValueError(f"names must be of METHODS, {', '.join(METHODS)}; got {', '.join(unknown)}.")
    return {name: METHODS[name].for_average(average, n_tokens, n_layers) for name in names}


def accuracy_at_averages(
    loaded: Loaded,
    asked: Questions,
    averages: Sequence[float | int],
    names: Iterable[str] | None = None,
    **options: int,
) -> pd.DataFrame:
    """`accuracy` of every method at every true layer average, and of the model itself ("nothing dropped").

    Args:
        loaded: model and processor.
        asked: scenes with a question each; their prompts must have the same number of vision tokens.
        averages: true layer averages of vision tokens.
        names: as for `methods_at_average`.
        **options: of `accuracy`.
    """
    n_tokens = len(loaded.vision_positions(loaded.inputs([asked[0][0].image], [asked[0][1].text]))[0])
    methods: dict[Hashable, Method | None] = {(NOTHING_DROPPED, n_tokens): None}
    names = None if names is None else list(names)
    for average in averages:
        found = methods_at_average(average, n_tokens, loaded.n_layers, names)
        methods |= {(name, average): method for name, method in found.items()}
    frame = accuracy(loaded, asked, methods, **options)
    frame.insert(1, "budget", [budget for _, budget in frame.method])
    return frame.assign(method=[name for name, _ in frame.method])


def repacking(kind: type[Method]) -> type[Method]:
    """The same method, its survivors' position ids closed up: what that convention costs by itself.

    >>> from v2drop import Schedule, Uniform
    >>> repacked(Uniform)(Schedule({0: 48})).positions
    'repack'
    """
    return type(f"Repacked{kind.__name__}", (kind,), {"positions": "repack"})


def accuracy_by_difficulty(frame: pd.DataFrame, judge: str = "downsample") -> pd.DataFrame:
    """Accuracy on the questions that a judge gets wrong at the same budget, and on those it gets right.

    The split of VTC-Bench (arXiv 2510.07143), whose judge is image downsampling: what a smaller picture answers needs
    no choice of tokens. Questions that the model gets wrong with everything there are left out.

    Args:
        frame: of `accuracy_at_averages`.
        judge: a method in it.

    Returns:
        group ("difficult", "easy"), method, budget, mean, low, high, n.

    Raises:
        ValueError: the judge, or the model itself, is not in the frame.
    """
    for needed in (judge, NOTHING_DROPPED):
        if needed not in set(frame.method):
            raise ValueError(f"the frame must hold {needed!r}; got {', '.join(frame.method.unique())}.")
    answerable = set(frame.question[(frame.method == NOTHING_DROPPED) & frame.right])
    judged = frame[frame.method == judge].set_index(["budget", "question"]).right.rename("easy")
    asked = frame[frame.question.isin(answerable) & ~frame.method.isin([judge, NOTHING_DROPPED])]
    asked = asked.join(judged, on=["budget", "question"], how="inner")
    asked = asked.assign(group=asked.easy.map({True: "easy", False: "difficult"}))
    return mean_by_group(asked, ["group", "method", "budget"], "right")
