"""Do high scores lie on what is in the picture, and on what the question is about.

How much of them the question changes at all is told by `analysis.question_dependence`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import mannwhitneyu
from sklearn.metrics import average_precision_score

from analysis.criteria.scores import CRITERIA
from analysis.statistics.rankings import RATIOS, check_ratios, n_kept, ranks
from analysis.statistics.token_tables import check_table, score_matrices, tokens_per_sample

CONTRASTS = {  # name -> the tokens that should score high, those that should not
    "objects": (("relevant", "other"), ("background",)),
    "relevant": (("relevant",), ("other", "background")),
    "relevant among objects": (("relevant",), ("other",)),
}


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
        table: of `analysis.score_tokens`: sample, layer, token, rank and the criteria.
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
    check_table(table, ["rank", *criteria])
    measured, known = tokens_per_sample(table, ["sample", "layer"]), tokens_per_sample(where, ["sample"])
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
    for key, names, scores in score_matrices(table, criteria):
        on = ons[key].to_numpy()
        for contrast, (right, wrong) in CONTRASTS.items():
            chosen, positive = np.isin(on, (*right, *wrong)), np.isin(on, right)
            if positive.any() and not positive[chosen].all():
                for statistic, values, chance in _contrast_statistics(scores[:, chosen], positive[chosen], ratios):
                    rows += [(*key, contrast, statistic, *pair, chance) for pair in zip(names, values, strict=True)]
    return pd.DataFrame(rows, columns=["sample", "layer", "contrast", "statistic", "criterion", "value", "chance"])


def _contrast_statistics(
    scores: Float[np.ndarray, "criteria tokens"], positive: Bool[np.ndarray, " tokens"], ratios: Sequence[float]
) -> list[tuple[str, np.ndarray, float]]:
    n_right, n = int(positive.sum()), len(positive)
    wins = mannwhitneyu(scores[:, positive], scores[:, ~positive], axis=1, method="asymptotic").statistic
    precision = np.array([average_precision_score(positive, row) for row in scores])
    place = ranks(scores)
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
