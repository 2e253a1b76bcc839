"""Which criterion predicts the impact of tokens in groups: rank correlations, corrected for the impact's own noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.statistics.frames import checked, in_order
from analysis.statistics.intervals import mean_interval
from analysis.statistics.lists import different, names
from analysis.statistics.reliability import corrected_mean, rank_correlation, spearman_brown
from analysis.statistics.token_tables import checked_table
from analysis.theorem.statistics.impact_table import PREDICTORS

NORMAL_95 = 1.959964  # of a standard normal, two-sided
KEYS = ["layer", "effect", "target", "criterion"]
HALVES = ["first_half", "second_half"]
SUMMARY = [*KEYS, "mean", "low", "high", "n", "null", "reliability", "corrected", "corrected_low", "corrected_high"]
TARGETS = {"signed": lambda values: values, "absolute": np.abs}


def group_summary(
    effects: pd.DataFrame, table: pd.DataFrame, criteria: Sequence[str] | str = (*PREDICTORS, "drop_impact")
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
            token and the criteria. Tokens are joined by their order in the prompt. Samples and layers that only one of
            both frames has are left out.
        criteria: Columns of `table`; drop_impact, say, for how far the impact of single tokens tells that of groups.

    Returns:
        One row per (layer, effect, target, criterion): these, mean over samples, low and high (95 % interval over
        samples), n (samples for which the correlation exists), null (a criterion that ranks at random has a mean of 0,
        and in 95 % of cases one within 0 +- null), reliability (of the mean half-split correlation), corrected,
        corrected_low and corrected_high (95 % bootstrap interval over samples; NaN where the reliability is not above
        0). The targets are "signed" (the effect) and "absolute" (its size).

    Raises:
        ValueError: A frame is not as described, a token is there twice, no sample and layer is in both, or the two have
            different numbers of tokens for one.
    """
    criteria = list(names("criteria", criteria, besides=["sample", "token", *SUMMARY, *HALVES, "value"]))
    numbers = dict.fromkeys(["value", *HALVES], "number or NaN")
    keys = {"sample": "label", "layer": "counted", "effect": "text", "token": "counted"}
    effects = checked(effects, "effects", keys | numbers, list(keys))[[*keys, *numbers]]
    table = checked_table(table, dict.fromkeys(criteria, "number or NaN"))[["sample", "layer", "token", *criteria]]
    values = pd.DataFrame(_correlations(_joined(effects, table), criteria), columns=["sample", *KEYS, "r", "half", "n"])
    groups = in_order(values, ["sample"]).groupby(KEYS, sort=False)
    rows = {key: _row(group) for key, group in groups}
    order = dict.fromkeys(values[KEYS].itertuples(index=False, name=None))  # as effects and criteria were given
    return pd.DataFrame([(*key, *rows[key]) for key in order], columns=SUMMARY)


def _joined(effects: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Effects beside criteria, a token of one by its place among the measured tokens of the other."""
    left, right = (in_order(frame, ["token"]) for frame in (effects, table))
    left = left.assign(place=left.groupby(["sample", "layer", "effect"]).cumcount())
    right = right.assign(place=right.groupby(["sample", "layer"]).cumcount()).drop(columns="token")
    sizes = left.groupby(["sample", "layer", "effect"]).size().rename("here").reset_index()
    sizes = sizes.merge(right.groupby(["sample", "layer"]).size().rename("there").reset_index())
    if sizes.empty:
        raise ValueError(
            "effects and table must have a sample and layer in common; got the layers "
            f"{different(effects.layer)} of {effects['sample'].nunique()} samples and the layers "
            f"{different(table.layer)} of {table['sample'].nunique()}."
        )
    unlike = sizes[sizes.here != sizes.there]
    if len(unlike):
        raise ValueError(
            "effects and table must hold the same tokens of the same questions; got "
            f"{unlike.here.iloc[0]} and {unlike.there.iloc[0]} of them for sample {unlike['sample'].iloc[0]}, layer "
            f"{unlike.layer.iloc[0]}."
        )
    return left.merge(right, on=["sample", "layer", "place"])


def _correlations(joined: pd.DataFrame, criteria: list[str]) -> Iterator[tuple]:
    """For each sample, layer and effect: correlation with each criterion, of the halves, and the number of tokens."""
    for (sample, layer, effect), tokens in joined.groupby(["sample", "layer", "effect"], sort=False):
        for target, of in TARGETS.items():
            value, first, second = (of(tokens[name].to_numpy()) for name in ["value", *HALVES])
            half = rank_correlation(first, second)
            for criterion in criteria:
                correlation = rank_correlation(tokens[criterion].to_numpy(), value)
                yield sample, layer, effect, target, criterion, correlation, half, len(tokens)


def _row(group: pd.DataFrame) -> tuple:
    """The columns of SUMMARY behind the keys. A random ranking's correlation has variance 1 / (n - 1)."""
    there = group[group.r.notna()]
    null = NORMAL_95 * np.sqrt((1 / (there.n - 1)).sum()) / len(there) if len(there) else np.nan
    reliability = spearman_brown(float(there.half.mean())) if len(there) else np.nan
    corrected = corrected_mean(there.r.to_numpy(), there.half.to_numpy())
    return *mean_interval(group.r.to_numpy()), null, reliability, *corrected
