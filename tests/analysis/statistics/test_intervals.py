"""Means over samples, pooled over layers within each, and paired differences."""

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.pairs import paired_difference
from analysis.statistics.intervals import criterion_minus_baseline, mean_by_group, summarise_layers


def test_the_pooled_interval_is_that_of_the_samples_means_over_layers():
    """Layers that say the same of a sample bring no more certainty: the interval is as wide as that of one."""
    rng = np.random.default_rng(0)
    one = pd.DataFrame({"sample": range(20), "layer": 0, "value": rng.random(20), "chance": 0.0, "name": "x"})
    summary = summarise_layers(pd.concat([one.assign(layer=layer) for layer in range(8)]), ["name"]).set_index("layer")
    assert summary.loc["all", "low"] == summary.loc[0, "low"] and summary.loc["all", "high"] == summary.loc[3, "high"]


def test_samples_weigh_the_same_however_many_layers_they_have():
    rows = [(0, 0, 1.0, 0.5), (1, 0, 0.0, 0.1), (1, 1, 0.0, 0.1), (1, 2, 0.0, 0.1)]
    values = pd.DataFrame(rows, columns=["sample", "layer", "value", "chance"]).assign(name="x")
    pooled = summarise_layers(values, ["name"]).set_index("layer").loc["all"]
    assert pooled["mean"] == 0.5 and pooled.n == 2 and pooled.chance == pytest.approx(0.3)


def test_paired_differences_of_any_value():
    rows = [("m", q, q % 2 == 0, -1.0 - q) for q in range(6)] + [("base", q, False, -2.0 - q) for q in range(6)]
    frame = pd.DataFrame(rows, columns=["method", "question", "right", "log_probability"]).assign(budget=1)
    right, log_p = (paired_difference(frame, "base", ["budget"], v).iloc[0] for v in ("right", "log_probability"))
    assert right["mean"] == 0.5 and right.low < 0.5 < right.high
    assert log_p["mean"] == 1 and log_p.n == 6 and np.isnan([log_p.low, log_p.high]).all()
    assert (right.better, right.worse, right.p) == (3, 0, 2 / 8) and (log_p.better, log_p.p) == (6, 2 / 64)
    assert paired_difference(frame, "base", ["budget"]).iloc[0]["mean"] == 0.5


def test_a_gain_is_paired_by_sample_layer_and_keys_where_there_is_a_baseline():
    rows = [(0, 0, "x", 1.0, 3.0), (0, 1, "x", 5.0, 4.0), (1, 0, "x", 10.0, 14.0), (1, 0, "y", np.nan, 9.0)]
    wide = pd.DataFrame(rows, columns=["sample", "layer", "key", "base", "a"])
    values = wide.melt(["sample", "layer", "key"], var_name="criterion").dropna().assign(chance=0.5)
    gain = criterion_minus_baseline(values.sample(frac=1, random_state=0), "base", ["key"]).sort_values(
        ["sample", "layer"]
    )
    assert list(gain) == ["sample", "layer", "key", "criterion", "value", "chance"] and (gain.chance == 0).all()
    assert gain.value.tolist() == [2, -1, 4] and set(gain.criterion) == {"a"} and set(gain.key) == {"x"}
    with pytest.raises(ValueError, match="baseline must be one of base, a; got 'b'"):
        criterion_minus_baseline(values, "b", ["key"])


def test_a_single_sample_says_nothing_about_others():
    alone = mean_by_group(pd.DataFrame({"name": ["x", "y", "y"], "value": [0.5, 0.5, 0.5]}), ["name"], "value")
    assert alone["mean"].tolist() == [0.5, 0.5] and alone.n.tolist() == [1, 2]
    assert alone.low.isna().all() and alone.high.isna().all()  # nor do two that are equal


def test_truths_have_the_interval_of_a_proportion_and_equal_numbers_none():
    """The column's type decides, not its values: 0 and 1 as numbers are numbers."""
    frame = pd.DataFrame({"name": "x", "value": [True] * 8})
    truths, shares = mean_by_group(frame, ["name"], "value"), frame.assign(value=frame.value.astype(float))
    assert truths.iloc[0].tolist() == ["x", 1.0, pytest.approx(0.025 ** (1 / 8)), 1.0, 8]
    assert mean_by_group(frame.astype({"value": object}), ["name"], "value").equals(truths)
    assert mean_by_group(shares, ["name"], "value", shares=True).equals(truths)
    assert mean_by_group(shares, ["name"], "value")[["low", "high"]].isna().all(axis=None)
    with pytest.raises(ValueError, match=r"shares must lie in \[0, 1\]; got 2 to 2"):
        mean_by_group(shares.assign(value=2), ["name"], "value", shares=True)
