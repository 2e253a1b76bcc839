"""How far scores depend on the question (claim C9): rankings of one picture's tokens under different questions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from analysis.criteria.scores import CRITERIA
from analysis.statistics.frames import checked
from analysis.statistics.rankings import RATIOS, checked_ratios, n_kept, ranks
from analysis.statistics.token_tables import score_matrices


def question_dependence(
    table: pd.DataFrame,
    images: Sequence[Hashable],
    criteria: Sequence[str] = CRITERIA,
    ratios: Sequence[float] | float = RATIOS,
) -> pd.DataFrame:
    """The similarity of the rankings of one picture's tokens under different questions.

    Args:
        table: The frame of `analysis.scored`, one sample for each question.
        images: The picture of each sample; every picture at least twice, with the same tokens.
        criteria: The columns that hold scores.
        ratios: Shares of tokens kept, in (0, 1].

    Returns:
        One row per (sample, layer, statistic, criterion): these (sample is the picture here), value, and chance, the
        value of unrelated rankings. Statistics: image_share (`icc`: 1 if the question changes nothing), same@r (the
        share of kept tokens that two questions have in common, mean over pairs of questions).

    Raises:
        ValueError: A picture occurs only once, with other numbers of tokens, or a sample has no picture in `images`; a
            ratio is out of range; a column is missing or partly NaN.
    """
    ratios, images = checked_ratios(ratios), _listed(images)
    samples = checked(table, "table", {"sample": "counted"})["sample"]
    if samples.max() >= len(images):
        raise ValueError(
            f"images must hold the picture of every sample, one for each question; got {len(images)} pictures for "
            f"samples up to {samples.max()}."
        )
    rankings: dict[tuple[int, int, str], list[np.ndarray]] = {}
    for (sample, layer), names, scores in score_matrices(table, criteria, at_least=2):
        for name, rank in zip(names, ranks(scores), strict=True):
            rankings.setdefault((images[int(sample)], layer, name), []).append(rank)
    rows = []
    for (image, layer, name), ranked in rankings.items():
        if len(ranked) < 2:
            raise ValueError(f"every image must be asked about twice or more; image {image} was once.")
        if len({len(rank) for rank in ranked}) > 1:
            raise ValueError(
                f"all samples of a picture must have the same tokens; got {', '.join(str(len(r)) for r in ranked)} at "
                f"image {image}."
            )
        for statistic, value, chance in _question_statistics(np.stack(ranked), ratios):
            rows.append((image, layer, statistic, name, value, chance))
    return pd.DataFrame(rows, columns=["sample", "layer", "statistic", "criterion", "value", "chance"])


def _listed(images: Any) -> list[Hashable]:
    is_list = isinstance(images, Iterable) and not isinstance(images, (str, bytes, Mapping, Set))
    listed = (images.tolist() if hasattr(images, "tolist") else list(images)) if is_list else None
    if listed is None or not all(isinstance(image, Hashable) for image in listed):
        raise ValueError(
            "images must be a list with the number or name of each sample's picture, as questions_each gives it; got "
            f"{type(images).__name__}."
        )
    return listed


def icc(ranks: Int[np.ndarray, "questions tokens"]) -> float:
    """The intraclass correlation ICC(3, 1): the share of the variance of ranks that is due to the token alone.

    From the two-way analysis of variance without replication (Shrout and Fleiss 1979): 1 if all questions rank alike, 0
    on average if their rankings are unrelated, below 0 if they contradict each other.

    >>> icc(np.array([[0, 1, 2], [0, 1, 2]])), icc(np.array([[0, 1, 2], [2, 1, 0]]))
    (1.0, -1.0)
    """
    k, n = ranks.shape
    token, question = ranks.mean(0), ranks.mean(1, keepdims=True)
    between = k * token.var(ddof=1)
    rest = np.square(ranks - token - question + ranks.mean()).sum() / ((n - 1) * (k - 1))
    return float((between - rest) / (between + (k - 1) * rest))


def _question_statistics(ranks: np.ndarray, ratios: Sequence[float]) -> list[tuple[str, float, float]]:
    k, n = ranks.shape
    statistics = [("image_share", icc(ranks), 0.0)]
    for ratio in ratios:
        chosen = (ranks < n_kept(ratio, n)).astype(float)
        common = chosen @ chosen.T / n_kept(ratio, n)
        same = (common.sum() - np.trace(common)) / (k * (k - 1))
        statistics.append((f"same@{ratio:.2f}", float(same), n_kept(ratio, n) / n))
    return statistics
