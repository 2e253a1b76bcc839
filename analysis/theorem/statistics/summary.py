"""Statistics of the table of `variation_impact`: does the bound hold, which criterion ranks tokens by impact, why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.statistics.intervals import mean_interval
from analysis.statistics.rankings import RATIOS, checked_ratios
from analysis.theorem.statistics.alignment import alignment_rows
from analysis.theorem.statistics.bound import bound_rows
from analysis.theorem.statistics.impact_table import PREDICTORS, checked_impacts, samples_and_layers
from analysis.theorem.statistics.ranking import ranking_rows
from analysis.theorem.statistics.variance_shares import share_rows
from v2drop.arguments import one_of, seed_number, whole_number

KEYS = ["layer", "statistic", "criterion", "target", "tokens"]
SHARES = ("bound_holds", "smooth", "helpful", "same_sign", "overlap@")  # how the names of shares of tokens begin


def summarise_impact(
    table: pd.DataFrame,
    versus: str = "variation_l2",
    ratios: Sequence[float] | float = RATIOS,
    permutations: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Means over samples of the statistics of `per_sample`, with 95 % intervals.

    Args:
        table: The frame of `variation_impact` for several samples. With a column label (as of its argument labels, or
            merged from `analysis.token_labels`) rankings, bounds and alignments are given within each label too.
        versus: The criterion that the others are compared with, on the same samples.
        ratios: Shares of tokens kept, for the overlap of kept sets.
        permutations: The number of permutations of the updates among tokens, for the null.
        seed: The seed of the permutations.

    Returns:
        One row per (layer, statistic, criterion, target, tokens, versus): these, mean over samples, low and high (95 %
        interval of `mean_interval`; NaN for a single sample), samples (for how many the statistic exists; without any,
        mean, low and high are NaN). `layer` is a number, or "all" for the mean over a sample's layers. `versus` is
        empty, or names the criterion whose paired values were subtracted (for rankings of all tokens).

    Raises:
        ValueError: `versus` is not a criterion, or the table has NaN where it must have numbers.
    """
    one_of("versus", versus, PREDICTORS)
    values = per_sample(table, ratios, permutations, seed)
    pooled = values.groupby(["sample", *KEYS[1:]], sort=False).value.mean().reset_index()
    values = pd.concat([values, pooled.assign(layer="all")]).assign(versus="")
    ranks = values.statistic.str.match("spearman|kendall|overlap") & values.tokens.eq("all")
    base = values[ranks & (values.criterion == versus)].drop(columns="criterion")
    others = values[ranks & (values.criterion != versus)]
    paired = others.merge(base, on=["sample", "layer", "statistic", "target", "tokens"])
    gain = paired.assign(value=paired.value_x - paired.value_y, versus=versus)
    both = pd.concat([values, gain[values.columns]])
    groups = both.groupby([*KEYS, "versus"], sort=False).value
    rows = [
        (*key, *mean_interval(group.to_numpy(), shares=key[1].startswith(SHARES) and not key[-1]))
        for key, group in groups
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "versus", "mean", "low", "high", "samples"])


def per_sample(
    table: pd.DataFrame, ratios: Sequence[float] | float = RATIOS, permutations: int = 5, seed: int = 0
) -> pd.DataFrame:
    """One value per sample, layer, statistic, criterion, target and set of tokens.

    Targets are revert_impact and drop_impact (norms), revert_kl and drop_kl, revert_answer and drop_answer (signed:
    positive where the update or the token helps the right answer) and these "... unsigned", the sizes of the same. What
    was not measured has no rows. `tokens` is "all", or a label, where the table has a column label; or
    "between labels".

    - bound_holds: share of tokens whose impact is at most its bound. looseness: median of bound / impact.
      linear_error: median of |impact / first order - 1|. For revert_impact, and for revert_answer unsigned, whose
      bound is predicted_answer. taylor_slope: median. smooth: share of slopes in [1.8, 2.2].
    - quantile_50, _90, _99: percentiles of a target over tokens. helpful: share of tokens with a positive signed
      target. same_sign: share of tokens whose first_order_answer has the sign of revert_answer.
    - gain_ratio_10, _50, _90: percentiles of gain_ratio; likewise of top_cosine. With a criterion they are those of
      the null of that name: "random" direction, "permuted" update, update of the "same_label". gain_ratio_minus,
      top_cosine_minus: median of the difference to that null.
    - spearman, kendall, overlap@r: agreement of criterion and target; overlap@r is the share of the target's top
      round(r n) tokens that are among the criterion's (r by chance). Criteria named "... permuted" are the null: the
      same, with the updates permuted among the tokens (mean over permutations). A correlation is 0 with a criterion
      that scores all tokens alike, and NaN where there is a single token. Within a label ranks are taken anew. The
      Spearman correlation "between labels" is the part of that over all tokens that the labels' mean ranks carry.
    - lmg_share: share of the variance of log target that a factor explains, R2 averaged over all orders of the factors
      (`analysis.theorem.statistics.variance_shares.lmg_shares`), over tokens where all of them are positive. The
      product of the factors is the target, so the shares add up to 1.

    Layers at which no token has a first-order impact (the last one) have no rows.

    Args:
        table: The frame of `variation_impact`.
        ratios: Shares of tokens kept.
        permutations: The number of permutations of the null.
        seed: The seed of the permutations.

    Raises:
        ValueError: A criterion or target is NaN for some tokens of a layer but not for all; a number is infinite. A
            token occurs twice, as when tables of several prompts all have sample 0. An argument is out of range. No row
            is left.
    """
    ratios, permutations = checked_ratios(ratios), whole_number("permutations", permutations, 1)
    table, rng = checked_impacts(table), np.random.default_rng(seed_number(seed))
    rows = []
    for key, columns in samples_and_layers(table):
        parts = bound_rows(columns), alignment_rows(columns), ranking_rows(columns, ratios, permutations, rng)
        rows += [(*key, *row) for part in (*parts, share_rows(columns)) for row in part]
    return pd.DataFrame(rows, columns=["sample", *KEYS, "value"])
