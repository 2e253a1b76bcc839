"""How updates lie to the direction to which the output is most sensitive, beside the nulls: per sample and layer."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.theorem.statistics.bound import Row
from analysis.theorem.statistics.impact_table import ALIGNMENTS, NULLS, Columns, groups_of_tokens, quantile


def alignment_rows(columns: Columns) -> Iterator[Row]:
    """Quantiles of gain_ratio and top_cosine, and the median difference to each null, for all tokens and each label."""
    for tokens, own in groups_of_tokens(columns):
        for name in ALIGNMENTS:
            for percent in (10, 50, 90):
                yield f"{name}_{percent}", "", "", tokens, quantile(own[name], percent)
            for null in NULLS:
                yield f"{name}_50", null, "", tokens, quantile(own[f"{name}_{null}"])
                yield f"{name}_minus", null, "", tokens, quantile(own[name] - own[f"{name}_{null}"])
