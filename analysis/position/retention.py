"""Retention along the sequence: curves, the ratio of its ends, and the correlation of score and position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, rankdata, wilcoxon

from analysis.criteria.scores import CRITERIA
from analysis.position.binning import BINS, bin_index, checked_kept
from analysis.statistics.frames import checked, in_order
from analysis.statistics.grids import grid_side
from analysis.statistics.intervals import MEANS, mean_by_group
from analysis.statistics.lists import names
from analysis.statistics.proportions import ratio_interval
from analysis.statistics.rankings import n_kept, ranks
from analysis.statistics.token_tables import checked_table, score_matrices, tokens_per_sample
from v2drop.arguments import number, one_of, whole_number

AXES = ("position", "row", "column", "frame", "token")
ENDS = ["start", "end", "ratio", "low", "high", "n"]


def kept_tokens_by(table: pd.DataFrame, ratio: float, criteria: Sequence[str] = CRITERIA) -> pd.DataFrame:
    """The tokens that each criterion keeps in a single drop, for every sample and layer.

    Args:
        table: The frame of `analysis.scored`.
        ratio: The share of tokens kept, in (0, 1]; at least one token is.
        criteria: The columns that hold scores.

    Returns:
        One row per (sample, layer, criterion, vision_index): these and kept (bool).

    Raises:
        ValueError: The ratio is out of range, a column is missing or partly NaN, or tokens of a sample are missing.
    """
    if not 0 < number("ratio", ratio) <= 1:
        raise ValueError(f"ratio must lie in (0, 1]; got {ratio}.")
    table = checked_table(table, {"vision_index": "counted"})
    tokens_per_sample(table, ["sample", "layer"])
    frames = []
    for (sample, layer), there, scores in score_matrices(table, criteria):
        n = scores.shape[1]
        kept = ranks(scores) < n_kept(ratio, n)
        keys = {"criterion": np.repeat(there, n), "vision_index": np.tile(np.arange(n), len(there))}
        frames.append(pd.DataFrame({"sample": sample, "layer": layer, **keys, "kept": kept.flatten()}))
    return pd.concat(frames, ignore_index=True)


def with_grid_place(kept: pd.DataFrame, frames: int = 1, width: int | None = None) -> pd.DataFrame:
    """The frame with the place of each token: position (0 first, 1 last of its sample), frame, row, column.

    Args:
        kept: A frame with the columns sample and vision_index: all tokens of a sample, kept or not.
        frames: The number of frames of a video, each a grid of tokens row by row, one after the other; 1 for a picture.
        width: The number of tokens in a row of the grid (`TokenGrid.columns`); None for square grids.

    Raises:
        ValueError: A column is missing or holds something else, tokens of a sample are missing, or they do not make up
            such grids.
    """
    frames = whole_number("frames", frames, 1)
    plain = checked(kept, "kept tokens", {"sample": "label", "vision_index": "counted"})
    tokens_per_sample(plain.drop_duplicates(["sample", "vision_index"]), ["sample"])
    index = plain.vision_index
    n = index.groupby(plain["sample"]).transform("max") + 1
    widths = {int(count): _width(int(count), frames, width) for count in n.unique()}
    wide, per_frame = n.map(widths), n // frames
    in_frame = index % per_frame
    place = {"frame": index // per_frame, "row": in_frame // wide, "column": in_frame % wide}
    place = {"position": index / (n - 1).clip(lower=1), **place, "token": index}
    return kept.assign(**{name: values.to_numpy() for name, values in place.items()})


def _width(n_tokens: int, frames: int, width: int | None) -> int:
    if n_tokens % frames:
        raise ValueError(f"tokens must be 1 or more frames of equal size; got {n_tokens} tokens in {frames} frames.")
    per_frame = n_tokens // frames
    wide = grid_side(per_frame) if width is None else whole_number("width", width)
    if wide < 1 or per_frame % wide:
        raise ValueError(f"width must divide the tokens of a frame, {per_frame}; got {wide}.")
    return wide


def retention(
    kept: pd.DataFrame, by: Sequence[str] = ("criterion",), axis: str = "position", bins: int = BINS
) -> pd.DataFrame:
    """The share of tokens kept along an axis, averaged over samples.

    Args:
        kept: The frame of `kept_tokens_by` or `analysis.kept_at_layer`; after `with_grid_place` for axes other than
            "position".
        by: The columns that tell curves apart.
        axis: "position" (in `bins` equal parts of the sequence), "row", "column", "frame", or "token" (single tokens).
        bins: The number of parts of the sequence.

    Returns:
        One row per curve and bin: `by`, bin (from 0), mean, low, high (95 %, `analysis.proportion_interval` over
        samples; NaN for a single sample), n.

    Raises:
        ValueError: The axis is unknown or not in the frame, there are more bins than tokens, tokens are missing or
            twice, or the column kept does not hold True and False.
    """
    by = names("by", by, besides=["sample", "kept", "bin", *MEANS])
    kept = checked_kept(kept, by)
    binned = kept.assign(bin=_bins(kept, by, axis, bins), kept=kept.kept.astype(float))
    share = binned.groupby([*by, "bin", "sample"], sort=False).kept.mean().reset_index()
    share = share.sort_values([*by, "bin"], kind="stable")
    return mean_by_group(share, [*by, "bin"], "kept", unit=["sample"], shares=True)


def end_to_start_ratio(kept: pd.DataFrame, by: Sequence[str] = ("criterion",), bins: int = BINS) -> pd.DataFrame:
    """The retention in the last bin / the retention in the first bin, both means over samples.

    The ratio is infinite where no token of the first bin is kept, and 1 if none of the last bin is kept either. The
    interval of a single sample is NaN.

    Args:
        kept: The frame of `kept_tokens_by` or `analysis.kept_at_layer`.
        by: The columns that tell curves apart.
        bins: The number of parts of the sequence.

    Returns:
        One row per curve: `by`, start, end (shares kept), ratio, low, high (95 %, `ratio_interval` of
        `analysis.statistics.proportions`: high is infinite where the start may keep nothing), n (samples).

    Raises:
        ValueError: There are more bins than tokens, tokens of a sample are missing or twice, the column kept does not
            hold True and False, or an argument is out of range.
    """
    by = names("by", by, besides=["sample", "kept", "bin", *ENDS])
    kept = checked_kept(kept, by)
    binned = kept.assign(bin=_bins(kept, by, "position", bins), kept=kept.kept.astype(float))
    ends = binned[binned.bin.isin([0, bins - 1])]
    share = ends.pivot_table(index=[*by, "sample"], columns="bin", values="kept", sort=False)
    rows = []
    for key, group in share.groupby(list(by), sort=False):
        values = in_order(group, ["sample"])[[0, bins - 1]].to_numpy()
        start, end = values.mean(0)
        rows.append((*key, start, end, _ratio(end, start), *ratio_interval(values[:, 1], values[:, 0]), len(values)))
    return pd.DataFrame(rows, columns=[*by, *ENDS])


def score_position(table: pd.DataFrame, criteria: Sequence[str] = CRITERIA) -> pd.DataFrame:
    """Spearman's correlation of score and position within each sample, and a test of whether its median is zero.

    Args:
        table: The frame of `analysis.scored`.
        criteria: The columns that hold scores.

    Returns:
        One row per (layer, criterion): these, mean, low, high (95 %, `analysis.bootstrap_interval` over samples; NaN
        for a single sample, and where all have the same correlation), n, p (Wilcoxon's signed-rank test over samples,
        which are independent, unlike tokens of one picture), and q (p corrected for all rows, Benjamini and Hochberg).
        A correlation is 0 where all tokens score alike.

    Raises:
        ValueError: A column is missing or partly NaN, or a sample has a single token.
    """
    rows = []
    for (sample, layer), there, scores in score_matrices(table, criteria, at_least=2):
        for name, score in zip(there, scores, strict=True):
            value = np.corrcoef(rankdata(score), np.arange(len(score)))[0, 1] if np.ptp(score) > 0 else 0.0
            rows.append((sample, layer, name, value))
    values = pd.DataFrame(rows, columns=["sample", "layer", "criterion", "value"])
    means = mean_by_group(values, ["layer", "criterion"], "value")
    means["p"] = [_median_test(group) for _, group in values.groupby(["layer", "criterion"], sort=False).value]
    return means.assign(q=false_discovery_control(means.p))


def _median_test(values: pd.Series) -> float:
    return float(wilcoxon(values).pvalue) if values.any() else 1.0


def _bins(kept: pd.DataFrame, by: Sequence[str], axis: str, bins: int) -> pd.Series:
    one_of("axis", axis, AXES)
    curves = dict.fromkeys(name for name in (*by, "layer", "criterion") if name in kept and name not in AXES)
    tokens_per_sample(kept, [*curves, "sample"])
    if axis == "position":
        return bin_index(kept.vision_index, kept.groupby("sample").vision_index.transform("max") + 1, bins)
    if axis not in kept:
        raise ValueError(
            f"the frame must have the places of tokens for axis {axis!r}; pass it through `with_grid_place`."
        )
    return checked(kept, "kept tokens", {axis: "counted"})[axis]


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return 1.0 if above == 0 else np.inf
    return float(above / below)
