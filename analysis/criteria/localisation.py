"""Localisation: do high scores lie on the objects in the picture, and on those that the question is about.

`analysis.question_dependence` measures whether the question changes the scores at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import mannwhitneyu
from sklearn.metrics import average_precision_score

from analysis.criteria.scores import CRITERIA
from analysis.statistics.frames import checked
from analysis.statistics.lists import different
from analysis.statistics.rankings import RATIOS, checked_ratios, n_kept, ranks
from analysis.statistics.token_tables import checked_table, score_matrices, tokens_per_sample

LABELS = ("relevant", "other", "background")
CONTRASTS = {  # name -> labels of tokens that should score high, labels of those that should score low
    "objects": (("relevant", "other"), ("background",)),
    "relevant": (("relevant",), ("other", "background")),
    "relevant among objects": (("relevant",), ("other",)),
}


def localisation(
    table: pd.DataFrame,
    labels: pd.DataFrame,
    criteria: Sequence[str] = CRITERIA,
    ratios: Sequence[float] | float = RATIOS,
) -> pd.DataFrame:
    """How well every criterion's scores separate the two sides of each contrast in CONTRASTS.

    "objects" asks whether scores find objects; "relevant", whether they find the object that the question is about;
    "relevant among objects" leaves the background out, so that it is no help to be an object.

    Args:
        table: The frame of `analysis.scored`: sample, layer, token, vision_index and the criteria.
        labels: The frame of `analysis.token_labels`: sample, vision_index, label.
        criteria: The columns that hold scores; higher is kept.
        ratios: Shares of the contrast's tokens that are kept, in (0, 1].

    Returns:
        One row per (sample, layer, contrast, statistic, criterion), where the contrast has tokens on both sides: these,
        value, and chance, the value of random scores. Statistics: auroc (ties count half), average_precision,
        pointing (1 if the highest score is right), recall@r (the share of the right tokens that are kept).

    Raises:
        ValueError: The tokens of a sample are not all in the table, or not those of `labels`; a label is not one of
            LABELS; no sample has tokens on both sides of a contrast; a ratio is out of range; a column is missing or
            partly NaN.
    """
    ratios = checked_ratios(ratios)
    table, labels = checked_table(table, {"vision_index": "counted"}), _checked_labels(labels)
    measured, known = tokens_per_sample(table, ["sample", "layer"]), tokens_per_sample(labels, ["sample"])
    n_known = known.reindex(measured.index.get_level_values("sample")).to_numpy()
    if not np.array_equal(measured, n_known):
        sample = measured.index[np.argmax(measured.to_numpy() != n_known)][0]
        raise ValueError(
            f"`labels` must hold every token of the table's samples and no others; sample {sample} has "
            f"{measured.loc[sample].iloc[0]} tokens here and {known.get(sample, 0)} there."
        )
    labelled = table.drop(columns="label", errors="ignore").merge(labels, on=["sample", "vision_index"], how="left")
    by_layer = dict(iter(labelled.sort_values("token", kind="stable").groupby(["sample", "layer"]).label))
    rows = []
    for key, names, scores in score_matrices(table, criteria):
        label = by_layer[key].to_numpy()
        for contrast, (right, wrong) in CONTRASTS.items():
            chosen, positive = np.isin(label, (*right, *wrong)), np.isin(label, right)
            if positive.any() and not positive[chosen].all():
                for statistic, values, chance in _contrast_statistics(scores[:, chosen], positive[chosen], ratios):
                    rows += [(*key, contrast, statistic, *pair, chance) for pair in zip(names, values, strict=True)]
    if not rows:
        raise ValueError(
            f"a sample must have tokens on both sides of a contrast; got none, with labels {different(labels.label)}."
        )
    return pd.DataFrame(rows, columns=["sample", "layer", "contrast", "statistic", "criterion", "value", "chance"])


def _checked_labels(labels: pd.DataFrame) -> pd.DataFrame:
    labels = checked(labels, "labels", {"sample": "label", "vision_index": "counted", "label": "label"})
    unknown = [label for label in labels.label.unique() if not isinstance(label, str) or label not in LABELS]
    if unknown:
        raise ValueError(
            f"label of the labels must be one of {', '.join(LABELS)}; got {', '.join(map(repr, unknown[:5]))}."
        )
    return labels[["sample", "vision_index", "label"]]


def _contrast_statistics(
    scores: Float[np.ndarray, "criteria tokens"], positive: Bool[np.ndarray, " tokens"], ratios: Sequence[float]
) -> list[tuple[str, np.ndarray, float]]:
    n_right, n = int(positive.sum()), len(positive)
    wins = mannwhitneyu(scores[:, positive], scores[:, ~positive], axis=1, method="asymptotic").statistic
    precision = np.array([average_precision_score(positive, row) for row in scores])
    rank = ranks(scores)
    statistics = [("auroc", wins / (n_right * (n - n_right)), 0.5)]
    statistics.append(("average_precision", precision, _precision_by_chance(n_right, n)))
    statistics.append(("pointing", positive[rank.argmin(1)].astype(float), n_right / n))
    for ratio in ratios:
        kept = n_kept(ratio, n)
        statistics.append((f"recall@{ratio:.2f}", (rank[:, positive] < kept).mean(1), kept / n))
    return statistics


def _precision_by_chance(right: int, n: int) -> float:
    """The mean average precision of a random order (Bestgen 2015), a little above right / n."""
    harmonic = float(np.sum(1 / np.arange(1, n + 1)))
    return ((right - 1) / (n - 1) * (n - harmonic) + harmonic) / n if n > 1 else 1.0
