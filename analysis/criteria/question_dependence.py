"""How much of a score is the picture's, how much the question's (claim C9): the same picture, different questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from analysis.criteria.scores import CRITERIA
from analysis.statistics.rankings import RATIOS, check_ratios, n_kept, ranks
from analysis.statistics.token_tables import score_matrices


def question_dependence(
    table: pd.DataFrame, images: Sequence[int], criteria: Sequence[str] = CRITERIA, ratios: Sequence[float] = RATIOS
) -> pd.DataFrame:
    """How alike the rankings are that one picture's tokens get under different questions.

    Args:
        table: of `analysis.scored`, one sample a question.
        images: which picture each sample shows; every one at least twice, with the same tokens.
        criteria: columns of it.
        ratios: of tokens kept, in (0, 1].

    Returns:
        One row per (image, layer, statistic, criterion), `sample` being the image: these, value, and chance, the value
        of unrelated rankings. Statistics: image_share (`icc`: 1 if the question changes nothing), same@r (mean
        over pairs of questions of the share of kept tokens that are the same).

    Raises:
        ValueError: an image is there once only, a ratio is out of range, a column is missing or partly NaN.
    """
    check_ratios(ratios)
    found: dict[tuple[int, int, str], list[np.ndarray]] = {}
    for (sample, layer), names, scores in score_matrices(table, criteria, at_least=2):
        for name, place in zip(names, ranks(scores), strict=True):
            found.setdefault((images[sample], layer, name), []).append(place)
    rows = []
    for (image, layer, name), runs in found.items():
        if len(runs) < 2:
            raise ValueError(f"every image must be asked about twice or more; image {image} was once.")
        for statistic, value, chance in _question_statistics(np.stack(runs), ratios):
            rows.append((image, layer, statistic, name, value, chance))
    return pd.DataFrame(rows, columns=["sample", "layer", "statistic", "criterion", "value", "chance"])


def icc(ranks: Int[np.ndarray, "questions tokens"]) -> float:
    """Share of the variance of ranks that is the token's, whatever the question: intraclass correlation ICC(3, 1).

    From the two-way analysis of variance without replication (Shrout and Fleiss 1979): 1 if all questions rank alike, 0
    on average if they are unrelated, below 0 if they contradict each other.

    >>> agreement_of(np.array([[0, 1, 2], [0, 1, 2]])), agreement_of(np.array([[0, 1, 2], [2, 1, 0]]))
    (1.0, -1.0)
    """
    k, n = ranks.shape
    token, question = ranks.mean(0), ranks.mean(1, keepdims=True)
    between = k * token.var(ddof=1)
    rest = np.square(ranks - token - question + ranks.mean()).sum() / ((n - 1) * (k - 1))
    return float((between - rest) / (between + (k - 1) * rest))


def _question_statistics(ranks: np.ndarray, ratios: Sequence[float]) -> list[tuple[str, float, float]]:
    k, n = ranks.shape
    found = [("image_share", icc(ranks), 0.0)]
    for ratio in ratios:
        chosen = (ranks < n_kept(ratio, n)).astype(float)
        common = chosen @ chosen.T / n_kept(ratio, n)
        same = (common.sum() - np.trace(common)) / (k * (k - 1))
        found.append((f"same@{ratio:.2f}", float(same), n_kept(ratio, n) / n))
    return found
