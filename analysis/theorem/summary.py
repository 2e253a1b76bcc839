"""Statistics of the table of `variation_impact`: does the bound hold, which criterion ranks tokens by impact, why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata

from analysis.statistics.frames import in_order
from analysis.statistics.intervals import mean_interval
from analysis.statistics.rankings import RATIOS, checked_ratios, n_kept
from analysis.statistics.token_tables import checked_table
from v2drop.arguments import one_of, seed_number, whole_number

PREDICTORS = (
    "variation_l2",
    "variation_l1",
    "variation_cosine",
    "operator_norm",
    "predicted_impact",
    "first_order_impact",
    "attention_last",
    "token_norm",
    "random",
)
TARGETS = ("revert_impact", "drop_impact")
DESCRIBED = ("alignment", "alignment_random", "taylor_slope")
FACTORS = ("variation_l2", "operator_norm", "alignment", "beyond_first_order")
KEYS = ["layer", "statistic", "criterion", "target"]
Row = tuple[str, str, str, float]


def summarise_impact(
    table: pd.DataFrame,
    versus: str = "variation_l2",
    ratios: Sequence[float] | float = RATIOS,
    permutations: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Statistics of the table, with bootstrap intervals over samples: tokens of one picture are not independent.

    Args:
        table: The frame of `variation_impact` for several samples.
        versus: The criterion that the others are compared with, on the same samples.
        ratios: Shares of tokens kept, for the overlap of kept sets.
        permutations: The number of permutations of the updates among tokens, for the null.
        seed: The seed of the permutations.

    Returns:
        One row per (layer, statistic, criterion, target, versus): these, mean over samples, low and high (95 %
        bootstrap interval; NaN for a single sample), samples (for how many the statistic exists; without any, mean,
        low and high are NaN). `layer` is a number, or "all" for the mean over a sample's layers. `versus` is empty, or
        names the criterion whose paired values were subtracted. The statistics are those of `per_sample`.

    Raises:
        ValueError: `versus` is not a criterion, or the table has NaN where it must have numbers.
    """
    one_of("versus", versus, PREDICTORS)
    values = per_sample(table, ratios, permutations, seed)
    pooled = values.groupby(["sample", *KEYS[1:]], sort=False).value.mean().reset_index()
    values = pd.concat([values, pooled.assign(layer="all")]).assign(versus="")
    ranking = values[values.target.isin(TARGETS) & values.statistic.ne("variance_share")]
    base = ranking[ranking.criterion == versus].drop(columns="criterion")
    paired = ranking[ranking.criterion != versus].merge(base, on=["sample", "layer", "statistic", "target"])
    gain = paired.assign(value=paired.value_x - paired.value_y, versus=versus)
    both = pd.concat([values, gain[values.columns]])
    rows = [
        (*key, *mean_interval(group.to_numpy())) for key, group in both.groupby([*KEYS, "versus"], sort=False).value
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "versus", "mean", "low", "high", "samples"])


def per_sample(
    table: pd.DataFrame, ratios: Sequence[float] | float = RATIOS, permutations: int = 5, seed: int = 0
) -> pd.DataFrame:
    """One value per sample, layer, statistic, criterion and target.

    - bound_holds: share of tokens with revert_impact <= predicted_impact. looseness: median of predicted_impact /
      revert_impact. alignment_10, _50, _90: quantiles in percent, likewise of alignment_random; alignment_gain: median
      of alignment - alignment_random. linear_error: median of |revert_impact / first_order_impact - 1|. taylor_slope:
      median. smooth: share of slopes in [1.8, 2.2].
    - spearman, kendall, overlap@r: agreement of criterion and target; overlap@r is the share of the target's top
      round(r n) tokens that are among the criterion's (r by chance). Criteria named "... permuted" are the null: the
      same, with the updates permuted among the tokens (mean over permutations). A correlation is 0 with a criterion
      that scores all tokens alike, and NaN where there is a single token.
    - variance_share: covariance of log factor and log target / variance of log target, over tokens where all of them
      are positive. The product of the factors is the target, so the shares add up to 1.

    Layers at which no token has a first-order impact (the last one) have no rows.

    Args:
        table: The frame of `variation_impact`.
        ratios: Shares of tokens kept.
        permutations: The number of permutations of the null.
        seed: The seed of the permutations.

    Raises:
        ValueError: A criterion is NaN for some tokens of a layer but not for all, or a target for any; a number is
            infinite. A token occurs twice, as when tables of several prompts all have sample 0. An argument is out of
            range. No row is left.
    """
    ratios, permutations = checked_ratios(ratios), whole_number("permutations", permutations, 1)
    table, rng = _checked(table), np.random.default_rng(seed_number(seed))
    rows = []
    for (sample, layer), group in table.groupby(["sample", "layer"], sort=True):
        columns = {name: group[name].to_numpy() for name in group.columns}
        _check_predictors(columns)
        if columns["first_order_impact"].any():  # none behind the last layer, whatever rounding leaves of the impacts
            for part in (_bound(columns), _ranking(columns, ratios, permutations, rng), _split(columns)):
                rows += [(sample, layer, *row) for row in part]
    if not rows:
        raise ValueError("the table must hold tokens with an impact; behind its layers no token has any.")
    return pd.DataFrame(rows, columns=["sample", *KEYS, "value"])


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    some = dict.fromkeys([*PREDICTORS, *DESCRIBED], "number or NaN")
    table = checked_table(table, some | dict.fromkeys(TARGETS, "number"))
    return in_order(table, ["token"])  # among equal scores the first token is kept; permutations are of this order


def _check_predictors(columns: dict[str, np.ndarray]) -> None:
    for name in PREDICTORS:
        n_nan = int(np.isnan(columns[name]).sum())
        if 0 < n_nan < len(columns[name]):
            raise ValueError(f"{name} must be a number for every token or for none; got {n_nan} NaN.")


def _bound(columns: dict[str, np.ndarray]) -> Iterator[Row]:
    impact, predicted, linear = (columns[f"{name}_impact"] for name in ("revert", "predicted", "first_order"))
    yield "bound_holds", "", "revert_impact", float(np.mean(impact <= predicted))
    yield "looseness", "", "revert_impact", _median(predicted, impact)
    yield "linear_error", "", "revert_impact", _quantile(np.abs(impact[linear > 0] / linear[linear > 0] - 1))
    for name in ("alignment", "alignment_random"):
        for q in (10, 50, 90):
            yield f"{name}_{q}", "", "", _quantile(columns[name], q)
    yield "alignment_gain", "", "", _quantile(columns["alignment"] - columns["alignment_random"])
    slopes = columns["taylor_slope"][~np.isnan(columns["taylor_slope"])]
    if len(slopes):
        yield "taylor_slope", "", "", float(np.median(slopes))
        yield "smooth", "", "", float(np.mean(np.abs(slopes - 2) <= 0.2))


def _median(above: np.ndarray, below: np.ndarray) -> float:
    return _quantile(above[below > 0] / below[below > 0])


def _quantile(values: np.ndarray, percent: int = 50) -> float:
    """A percentile of the numbers that are not NaN, NaN if there are none."""
    values = values[~np.isnan(values)]
    return float(np.percentile(values, percent)) if len(values) else np.nan


def _ranking(
    columns: dict[str, np.ndarray], ratios: Sequence[float], permutations: int, rng: np.random.Generator
) -> Iterator[Row]:
    norm, variation = columns["operator_norm"], columns["variation_l2"]
    shuffled = [rng.permutation(variation) for _ in range(permutations)]
    criteria = {name: [columns[name]] for name in PREDICTORS}
    criteria["variation_l2 permuted"] = shuffled
    criteria["predicted_impact permuted"] = [norm * change for change in shuffled]
    criteria = {name: versions for name, versions in criteria.items() if not np.isnan(versions[0]).any()}
    for target in TARGETS:
        for name, versions in criteria.items():
            agreements = [_agreement(version, columns[target], ratios) for version in versions]
            for statistic in agreements[0]:
                yield statistic, name, target, float(np.mean([one[statistic] for one in agreements]))


def _agreement(score: np.ndarray, target: np.ndarray, ratios: Sequence[float]) -> dict[str, float]:
    flat = 0.0 if len(score) > 1 else np.nan
    statistics = {"spearman": flat, "kendall": flat}
    if np.ptp(score) > 0 and np.ptp(target) > 0:
        statistics["spearman"] = float(np.corrcoef(rankdata(score), rankdata(target))[0, 1])
        statistics["kendall"] = float(kendalltau(score, target).statistic)
    order, truth = (np.argsort(-x, kind="stable") for x in (score, target))  # ties go to the earlier token
    for ratio in ratios:
        kept = n_kept(ratio, len(score))
        statistics[f"overlap@{ratio:.2f}"] = len(np.intersect1d(order[:kept], truth[:kept])) / kept
    return statistics


def _split(columns: dict[str, np.ndarray]) -> Iterator[Row]:
    for target in TARGETS:
        beyond = columns[target] / np.where(columns["first_order_impact"] > 0, columns["first_order_impact"], np.nan)
        factors = [columns[name] for name in FACTORS[:-1]] + [beyond]
        usable = np.all([np.nan_to_num(factor) > 0 for factor in (*factors, columns[target])], axis=0)
        total = np.log(columns[target][usable])
        if len(total) > 1 and np.ptp(total) > 0:
            for name, factor in zip(FACTORS, factors, strict=True):
                share = np.cov(np.log(factor[usable]), total)[0, 1] / total.var(ddof=1)
                yield "variance_share", name, target, float(share)
