"""Do high scores lie on what is in the picture, and on what the question is about.

How much of them the question changes at all is told by `analysis.agnostic`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.stats import mannwhitneyu
from sklearn.metrics import average_precision_score

from analysis.accuracy import Asked
from analysis.loading import Loaded
from analysis.mosaic import GRID
from analysis.ranking import RATIOS, check_ratios, n_kept, places
from analysis.scores import CRITERIA
from analysis.tokens import check, matrices, whole
from v2drop import Method

CONTRASTS = {  # name -> the tokens that should score high, those that should not
    "objects": (("relevant", "other"), ("background",)),
    "relevant": (("relevant",), ("other", "background")),
    "relevant among objects": (("relevant",), ("other",)),
}


def grid_side(n_tokens: int) -> int:
    """Tokens in a row of a square grid.

    Raises:
        ValueError: the tokens are no square grid.
    """
    side = math.isqrt(n_tokens)
    if side * side != n_tokens:
        raise ValueError(f"n_tokens must be a square number, a grid of patches; got {n_tokens}.")
    return side


def patches_of(n_tokens: int) -> list[int]:
    """The patch of a mosaic in which the centre of each token lies, for a model that cuts it into another grid.

    Raises:
        ValueError: the tokens are no square grid.

    >>> patches_of(144) == list(range(144)), patches_of(4)
    (True, [39, 45, 111, 117])
    """
    side = grid_side(n_tokens)
    lines = [int((i + 0.5) / side * GRID) for i in range(side)]
    return [row * GRID + column for row in lines for column in lines]


def truth(asked: Asked, n_tokens: int) -> pd.DataFrame:
    """What lies on each token of each question's picture.

    Returns:
        One row per (sample, rank): these (the question's index, the token's rank among the picture's), and `on`:
        "relevant" (the question is about it), "other" (an object it is not about) or "background".

    Raises:
        ValueError: the tokens are no square grid.
    """
    patches, frames = patches_of(n_tokens), []
    for sample, (_, question) in enumerate(asked):
        on = np.full(GRID**2, "background", dtype=object)
        on[list(question.objects)] = "other"
        on[list(question.relevant)] = "relevant"
        frames.append(pd.DataFrame({"sample": sample, "rank": range(n_tokens), "on": on[patches]}))
    return pd.concat(frames, ignore_index=True)


def localisation(
    table: pd.DataFrame,
    where: pd.DataFrame,
    criteria: Sequence[str] = CRITERIA,
    ratios: Sequence[float] = RATIOS,
) -> pd.DataFrame:
    """How well every criterion's scores find the tokens of each of CONTRASTS.

    "objects" asks whether scores find what is salient; "relevant" what the question is about; "relevant among objects"
    leaves the background out, so that being salient is no help.

    Args:
        table: of `analysis.scores.scores`: sample, layer, token, rank and the criteria.
        where: of `truth`.
        criteria: columns; higher is kept.
        ratios: of the contrast's tokens kept, in (0, 1].

    Returns:
        One row per (sample, layer, contrast, statistic, criterion), where the contrast has tokens on both sides: these,
        value, and chance, the value of random scores. Statistics: auroc (ties count half), average_precision,
        pointing (whether the highest score is right), recall@r (share of the right tokens among the kept ones).

    Raises:
        ValueError: the samples' tokens are not all there or not those of `where`, a ratio is out of range, a column is
            missing or partly NaN.
    """
    check_ratios(ratios)
    check(table, ["rank", *criteria])
    measured, known = whole(table, ["sample", "layer"]), whole(where, ["sample"])
    n_known = known.reindex(measured.index.get_level_values("sample")).to_numpy()
    if not np.array_equal(measured, n_known):
        sample = measured.index[np.argmax(measured.to_numpy() != n_known)][0]
        raise ValueError(
            f"`where` must hold every token of the table's samples and no others; sample {sample} has "
            f"{measured.loc[sample].iloc[0]} tokens here and {known.get(sample, 0)} there."
        )
    labelled = table.merge(where, on=["sample", "rank"], how="left")
    ons = dict(iter(labelled.sort_values("token", kind="stable").groupby(["sample", "layer"]).on))
    rows = []
    for key, names, scores in matrices(table, criteria):
        on = ons[key].to_numpy()
        for contrast, (right, wrong) in CONTRASTS.items():
            chosen, positive = np.isin(on, (*right, *wrong)), np.isin(on, right)
            if positive.any() and not positive[chosen].all():
                for statistic, values, chance in _statistics(scores[:, chosen], positive[chosen], ratios):
                    rows += [(*key, contrast, statistic, *pair, chance) for pair in zip(names, values, strict=True)]
    return pd.DataFrame(rows, columns=["sample", "layer", "contrast", "statistic", "criterion", "value", "chance"])


def _statistics(
    scores: Float[np.ndarray, "criteria tokens"], positive: Bool[np.ndarray, " tokens"], ratios: Sequence[float]
) -> list[tuple[str, np.ndarray, float]]:
    n_right, n = int(positive.sum()), len(positive)
    wins = mannwhitneyu(scores[:, positive], scores[:, ~positive], axis=1, method="asymptotic").statistic
    precision = np.array([average_precision_score(positive, row) for row in scores])
    place = places(scores)
    found = [("auroc", wins / (n_right * (n - n_right)), 0.5)]
    found.append(("average_precision", precision, _precision_by_chance(n_right, n)))
    found.append(("pointing", positive[place.argmin(1)].astype(float), n_right / n))
    for ratio in ratios:
        kept = n_kept(ratio, n)
        found.append((f"recall@{ratio:.2f}", (place[:, positive] < kept).mean(1), kept / n))
    return found


def _precision_by_chance(right: int, n: int) -> float:
    """Mean average precision of a random order (Bestgen 2015): a little above right / n."""
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    return ((right - 1) / (n - 1) * (n - harmonic) + harmonic) / n if n > 1 else 1.0


@torch.no_grad()
def retained(loaded: Loaded, asked: Asked, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """Who is left after the drop of one layer.

    Args:
        loaded: model and processor.
        asked: scenes with a question each.
        methods: by the name they get in the frame.
        layer: of their schedules.

    Returns:
        One row per (sample, criterion, token): sample (the question's index), criterion (the method's name), token
        (its position in the prompt), rank (among the picture's tokens), kept (bool).
    """
    frames = []
    for sample, (scene, question) in enumerate(asked):
        inputs = loaded.inputs([scene.image], [question.text])
        positions = loaded.vision_positions(inputs)[0]
        tokens = {"token": positions, "rank": range(len(positions))}
        for name, method in methods.items():
            with method(loaded.model) as trace:
                loaded.model(**inputs, logits_to_keep=1)
            kept = np.isin(positions, trace.kept[layer][0].cpu().numpy())
            frames.append(pd.DataFrame({"sample": sample, "criterion": name, **tokens, "kept": kept}))
    return pd.concat(frames, ignore_index=True)


def coverage(loaded: Loaded, asked: Asked, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """How many of the tokens on digits, and of those beside them, are `retained`.

    Returns:
        One row per (question, method): method, question, on_digits and beside, the shares kept.

    Raises:
        ValueError: the model's vision tokens are no square grid.
    """
    kept = retained(loaded, asked, methods, layer)
    labelled = kept.merge(truth(asked, int(kept["rank"].max()) + 1), on=["sample", "rank"])
    labelled["side"] = np.where(labelled.on == "background", "beside", "on_digits")
    share = labelled.pivot_table(index=["sample", "criterion"], columns="side", values="kept", sort=False).reset_index()
    names = {"criterion": "method", "sample": "question"}
    return share.rename(columns=names).rename_axis(columns=None)[["method", "question", "on_digits", "beside"]]
