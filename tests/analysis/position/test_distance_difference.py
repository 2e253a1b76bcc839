"""Excess over chance and differences of two criteria's distances: their intervals, by loops and on planted biases."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from analysis.position.detection import planted_kept
from analysis.position.distances import DISTANCES
from analysis.position.uniformity import distance_difference, distance_from_uniform


def curves(ratio, layer=0, criterion="a", seed=0, samples=30):
    kept = planted_kept(samples, 100, 0.3, ratio, seed=seed)
    return kept.assign(layer=layer, criterion=criterion)


def slow_rates(kept):
    """Share kept of every tenth, a row a sample."""
    return np.array(
        [[rows.kept[rows.vision_index // 10 == b].mean() for b in range(10)] for _, rows in kept.groupby("sample")]
    )


def slow_interval(value, without):
    n = len(without)
    error = np.sqrt((n - 1) / n * sum((w - np.mean(without)) ** 2 for w in without))
    return value - student.ppf(0.975, n - 1) * error, value + student.ppf(0.975, n - 1) * error


def test_the_jackknife_leaves_out_one_sample_after_the_other():
    frame = pd.concat([curves(3.0, criterion="a", samples=8), curves(1.0, criterion="b", seed=1, samples=8)])
    a, b = (slow_rates(frame[frame.criterion == name]) for name in "ab")
    found = distance_difference(frame, "b").set_index("distance")
    alone = distance_from_uniform(frame, ["layer", "criterion"], draws=49).set_index(["criterion", "distance"])
    for name, distance in DISTANCES.items():
        one, other = ([distance(np.delete(r, i, 0).mean(0)) for i in range(8)] for r in (a, b))
        value = distance(a.mean(0)) - distance(b.mean(0))
        row = found.loc[name]
        assert (row.difference, row.low, row.high) == pytest.approx(
            (value, *slow_interval(value, np.subtract(one, other)))
        )
        excess = alone.loc[("a", name)]
        assert excess.excess == pytest.approx(excess.value - excess.floor) and excess.n == 8
        assert (excess.low, excess.high) == pytest.approx(slow_interval(excess.excess, one))


def test_layers_that_are_further_nearer_and_level_are_counted():
    """Of three layers, biased more than the baseline, less, and alike."""
    ratios = {0: (5.0, 1.5), 1: (1.5, 5.0), 2: (2.0, 2.0)}
    frame = pd.concat(
        [
            curves(r, layer, name, 10 * layer + i)
            for layer, two in ratios.items()
            for i, (name, r) in enumerate(zip("ab", two, strict=True))
        ]
    )
    found = distance_difference(frame, "b").query("distance == 'ks'").set_index("layer")
    assert (found.low > 0).tolist() == [True, False, False] and (found.high < 0).tolist() == [False, True, False]
    excess = distance_from_uniform(frame, ["layer", "criterion"], draws=99).query("distance == 'ks' and layer == 0")
    assert (excess.set_index("criterion").low > 0).to_dict() == {"a": True, "b": True}


def test_what_cannot_be_compared_is_refused():
    frame = pd.concat([curves(3.0), curves(1.0, criterion="b")])
    with pytest.raises(ValueError, match="a must keep tokens of the samples of 'b'; got others at"):
        distance_difference(frame[(frame.criterion == "a") | (frame["sample"] > 3)], "b")
    with pytest.raises(ValueError, match="baseline must be one of a, b; got 'c'"):
        distance_difference(frame, "c")
    alike = curves(3.0).assign(kept=lambda t: t.vision_index < 20)
    row = distance_from_uniform(alike, draws=9).iloc[0]
    assert np.isnan([row.low, row.high]).all() and row.excess > 0
    lonely = alike.assign(kept=lambda t: t.kept & (t["sample"] == 0))  # without that sample no curve is left
    assert distance_from_uniform(lonely, draws=9).low.isna().all()
