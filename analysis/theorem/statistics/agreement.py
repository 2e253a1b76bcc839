"""Agreement of many scores with many targets on the same tokens, all pairs at once: correlations of ranks, overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from analysis.statistics.rankings import n_kept, ranks

Scores = Float[np.ndarray, "scores tokens"]
Targets = Float[np.ndarray, "targets tokens"]
Pairs = Float[np.ndarray, "scores targets"]


def spearman(scores: Scores, targets: Targets) -> Pairs:
    """Spearman correlations; 0 with what is the same for all tokens, NaN for a single token.

    >>> spearman(np.array([[1.0, 2, 3]]), np.array([[1.0, 5, 9], [3, 2, 1], [0, 0, 0]]))
    array([[ 1., -1.,  0.]])
    """
    return _cosines(_ranks(scores), _ranks(targets)) if scores.shape[1] > 1 else _nan(scores, targets)


def kendall(scores: Scores, targets: Targets) -> Pairs:
    """Kendall correlations (tau-b, which counts ties); 0 with what is the same for all tokens, NaN for a single token.

    >>> kendall(np.array([[1.0, 2, 3]]), np.array([[1.0, 3, 2]])).round(3)
    array([[0.333]])
    """
    return _cosines(_signs(scores), _signs(targets)) if scores.shape[1] > 1 else _nan(scores, targets)


def overlaps(scores: Scores, targets: Targets, ratio: float) -> Pairs:
    """The share of the highest tokens of a target that are among those of a score; ties go to the earlier token."""
    kept = n_kept(ratio, scores.shape[1])
    first, second = ((ranks(each) < kept).astype(float) for each in (scores, targets))
    return first @ second.T / kept


def spearman_between(scores: Scores, targets: Targets, labels: Sequence[object]) -> Pairs:
    r"""The part of the Spearman correlation that the means of the classes carry.

    With ranks x and y over all tokens, their covariance is that between the classes plus that within them:

    .. math:: \sum_i (x_i - \bar x)(y_i - \bar y) = \sum_c n_c (\bar x_c - \bar x)(\bar y_c - \bar y)
              + \sum_c \sum_{i \in c} (x_i - \bar x_c)(y_i - \bar y_c)

    and all of it over the same standard deviations is the correlation. So this part and the rest add up to it. (The
    correlation of the class means themselves says nothing for two classes: it is 1 or -1.)

    Returns:
        The parts; NaN where all tokens are of one class.

    >>> spearman_between(np.array([[1.0, 2, 3, 4]]), np.array([[2.0, 1, 4, 3]]), ["a", "a", "b", "b"])  # of 0.6
    array([[0.8]])
    """
    kinds = list(dict.fromkeys(labels))
    if len(kinds) < 2:
        return _nan(scores, targets)
    member = np.array([[label == kind for label in labels] for kind in kinds], dtype=float)
    size = member.sum(1)
    first, second = _ranks(scores), _ranks(targets)
    between = (first @ member.T / size) @ (second @ member.T).T
    return _over_lengths(between, first, second)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Twice the ranks minus their mean: whole numbers, whose products are exact."""
    return 2 * rankdata(values, axis=1) - (values.shape[1] + 1)


def _signs(values: np.ndarray) -> np.ndarray:
    """The sign of the difference of every pair of tokens."""
    first, second = np.triu_indices(values.shape[1], 1)
    return np.sign(values[:, first] - values[:, second])


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _over_lengths(first @ second.T, first, second)


def _over_lengths(products: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Products over the lengths of the rows that they are of; 0 where one has none."""
    lengths = np.sqrt(np.outer((first**2).sum(1), (second**2).sum(1)))
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def _nan(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.full((len(scores), len(targets)), np.nan)
