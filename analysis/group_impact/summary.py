"""Which criterion predicts the impact of tokens in groups: rank correlations, corrected for the impact's own noise.

Over all tokens, within each label (objects, background), and what the labels' mean ranks carry of the former.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.statistics.frames import checked, in_order
from analysis.statistics.intervals import mean_interval
from analysis.statistics.lists import different, names
from analysis.statistics.reliability import corrected_mean, rank_correlation, spearman_brown
from analysis.statistics.token_tables import checked_table
from analysis.theorem.statistics.agreement import spearman_between
from analysis.theorem.statistics.impact_table import BETWEEN, NOT_LABELS, PREDICTORS
from v2drop.arguments import one_of

NORMAL_95 = 1.959964  # of a standard normal, two-sided
KEYS = ["layer", "effect", "target", "criterion", "tokens"]
HALVES = ["first_half", "second_half"]
NOISE = ["null", "reliability", "corrected", "corrected_low", "corrected_high"]
SUMMARY = [*KEYS, "versus", "mean", "low", "high", "n", *NOISE]
TARGETS = {"signed": lambda values: values, "absolute": np.abs}


def group_summary(
    effects: pd.DataFrame,
    table: pd.DataFrame,
    criteria: Sequence[str] | str = (*PREDICTORS, "drop_impact"),
    versus: str | None = None,
) -> pd.DataFrame:
    r"""Rank correlation of criteria with the impact of tokens in groups, for each layer and effect.

    Spearman's correlation over the tokens of a sample, then means over samples. The impact is measured on random
    subsets, whose noise makes any correlation smaller than it is: `corrected` is the mean divided by the root of the
    reliability, that of the mean half-split correlation after Spearman and Brown. For ranks this is an approximation
    (2 % low for normal values of a reliability of .3), and a coarser one for absolute values, in which noise does not
    cancel; their half-splits are those of the absolute halves.

    Args:
        effects: The frame of `inclusion_impact`, `shapley_impact` or `load_group_impact`.
        table: The frame of `variation_impact`, `load_recorded` or `scored` for the same questions: sample, layer,
            token and the criteria; with a column label, correlations are given within each label too. Tokens are joined
            by their order in the prompt, or, if the table lacks some of them (`with_and_without_sinks`), by their
            positions. Samples and layers that only one of both frames has are left out.
        criteria: Columns of `table`; drop_impact, say, for how far the impact of single tokens tells that of groups.
        versus: A criterion that the others are compared with on the same samples; None for no comparison.

    Returns:
        One row per (layer, effect, target, criterion, tokens, versus): these, mean over samples, low and high (95 %
        interval over samples), n (samples for which the correlation exists), null (a criterion that ranks at random has
        a mean of 0, and in 95 % of cases one within 0 +- null), reliability (of the mean half-split correlation),
        corrected, corrected_low and corrected_high (95 % bootstrap interval over samples; NaN where the reliability is
        not above 0). The targets are "signed" (the effect) and "absolute" (its size). `tokens` is "all", a label (ranks
        are taken anew), or "between labels": the part of the correlation over all tokens that the labels' mean ranks
        carry, which has no correction. `versus` is empty, or names the criterion whose correlations were subtracted.

    Raises:
        ValueError: A frame is not as described, a token is there twice, no sample and layer is in both, the table has
            tokens that the effects lack, or `versus` is not among the criteria.
    """
    criteria = list(names("criteria", criteria, besides=["sample", "token", "label", *SUMMARY, *HALVES, "value"]))
    if versus is not None:
        one_of("versus", versus, criteria)
    numbers = dict.fromkeys(["value", *HALVES], "number or NaN")
    keys = {"sample": "label", "layer": "counted", "effect": "text", "token": "counted"}
    effects = checked(effects, "effects", keys | numbers, list(keys))[[*keys, *numbers]]
    joined = _joined(effects, _checked_criteria(table, criteria))
    values = pd.DataFrame(_correlations(joined, criteria), columns=["sample", *KEYS, "r", "half", "n"])
    order = dict.fromkeys(values[KEYS].itertuples(index=False, name=None))  # as effects and criteria were given
    groups = dict(iter(in_order(values, ["sample"]).groupby(KEYS, sort=False)))
    rows = [(*key, "", *_row(groups[key])) for key in order]
    if versus is not None:
        rows += [(*key, versus, *_gain(groups[key], groups[_of(key, versus)])) for key in order if key[3] != versus]
    return pd.DataFrame(rows, columns=SUMMARY)


def _checked_criteria(table: pd.DataFrame, criteria: list[str]) -> pd.DataFrame:
    """The table's keys and criteria, and its labels: "all" for every token if it has none."""
    columns = dict.fromkeys(criteria, "number or NaN")
    labelled = "label" in getattr(table, "columns", ())
    table = checked_table(table, columns | ({"label": "label"} if labelled else {}))
    if labelled and {*NOT_LABELS} & set(map(str, table.label)):
        raise ValueError(f"label of the table must not hold any of {NOT_LABELS}, which name sets of tokens here.")
    return (table if labelled else table.assign(label="all"))[["sample", "layer", "token", *criteria, "label"]]


def _joined(effects: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Effects beside criteria, a token of one by its place among the measured tokens of the other."""
    left, right = (in_order(frame, ["token"]) for frame in (effects, table))
    keys = ["sample", "layer"]
    sizes = left.groupby([*keys, "effect"]).size().rename("here").reset_index()
    sizes = sizes.merge(right.groupby(keys).size().rename("there").reset_index())
    if sizes.empty:
        raise ValueError(
            "effects and table must have a sample and layer in common; got the layers "
            f"{different(effects.layer)} of {effects['sample'].nunique()} samples and the layers "
            f"{different(table.layer)} of {table['sample'].nunique()}."
        )
    if (sizes.here == sizes.there).all():
        left = left.assign(token=left.groupby([*keys, "effect"]).cumcount())
        right = right.assign(token=right.groupby(keys).cumcount())
    joined = left.merge(right, on=[*keys, "token"])
    if len(joined) != sizes.there.sum():
        unlike = sizes[sizes.here != sizes.there].iloc[0]
        raise ValueError(
            "effects and table must hold the same tokens of the same questions, or the table some of them; got "
            f"{unlike.here} and {unlike.there} of them for sample {unlike['sample']}, layer {unlike.layer}."
        )
    return joined


def _correlations(joined: pd.DataFrame, criteria: list[str]) -> Iterator[tuple]:
    """For each sample, layer, effect, target and set of tokens: what `_ranked` yields."""
    for (sample, layer, effect), tokens in joined.groupby(["sample", "layer", "effect"], sort=False):
        for target, of in TARGETS.items():
            goals = tokens.assign(**{name: of(tokens[name]) for name in ("value", *HALVES)})
            for row in _ranked(goals, criteria):
                yield sample, layer, effect, target, *row


def _ranked(tokens: pd.DataFrame, criteria: list[str]) -> Iterator[tuple]:
    """Criterion, set of tokens, correlation with the value, that of the halves, and the number of tokens."""
    parts = {"all": tokens} | {str(label): part for label, part in tokens.groupby("label", sort=False)}
    for name, part in parts.items():
        half = rank_correlation(part.first_half.to_numpy(), part.second_half.to_numpy())
        for criterion in criteria:
            yield criterion, name, rank_correlation(part[criterion].to_numpy(), part.value.to_numpy()), half, len(part)
    if len(parts) > 2:
        for criterion in criteria:
            scores, goals = tokens[[criterion]].to_numpy().T, tokens[["value"]].to_numpy().T
            carried = (
                np.nan if np.isnan([scores, goals]).any() else spearman_between(scores, goals, [*tokens.label])[0, 0]
            )
            yield criterion, BETWEEN, carried, np.nan, len(tokens)


def _row(group: pd.DataFrame) -> tuple:
    """The columns of SUMMARY behind versus. A random ranking's correlation has variance 1 / (n - 1)."""
    mean = mean_interval(group.r.to_numpy())
    there = group[group.r.notna() & group.half.notna()]
    if there.empty:
        return *mean, *[np.nan] * len(NOISE)
    null = NORMAL_95 * np.sqrt((1 / (there.n - 1)).sum()) / len(there)
    corrected = corrected_mean(there.r.to_numpy(), there.half.to_numpy())
    return *mean, null, spearman_brown(float(there.half.mean())), *corrected


def _of(key: tuple, criterion: str) -> tuple:
    return *key[:3], criterion, key[4]


def _gain(group: pd.DataFrame, baseline: pd.DataFrame) -> tuple:
    """The columns of SUMMARY behind versus: the difference to a baseline's correlations on the same samples."""
    both = group.merge(baseline, on="sample")
    return *mean_interval((both.r_x - both.r_y).to_numpy()), *[np.nan] * len(NOISE)
