"""Fits of impact on bound: known tables, an ordinary least-squares fit, and the coverage of the intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from analysis.theorem.statistics.proportionality import STATISTICS, proportionality
from tests.support.impact_tables import synthetic


def look_up(frame, statistic, layer="all", target="revert_impact", prediction="bound"):
    wanted = {"layer": layer, "target": target, "prediction": prediction, "statistic": statistic}
    found = frame[(frame[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def planted(samples=12, slope=1.0, noise=0.0, between=0.0, seed=0, **options):
    """revert_impact = 0.2 bound^slope, times noise of each token and of each sample."""
    table = synthetic(samples=samples, seed=seed, **options)
    rng = np.random.default_rng(seed + 1)
    own = rng.normal(size=samples)[table["sample"]] * between + rng.normal(size=len(table)) * noise
    return table.assign(revert_impact=0.2 * table.predicted_impact**slope * np.exp(own))


def test_what_is_proportional_has_slope_one_and_no_spread():
    found = proportionality(planted(), 50)
    for layer in (0, 1, "all"):
        for statistic, expected in zip(STATISTICS, (1, 1, 1, 1, 0.2), strict=True):
            row = look_up(found, statistic, layer)
            assert [row.value, row.low, row.high] == pytest.approx([expected] * 3)
    assert look_up(found, "slope").samples == 12 and look_up(found, "slope").tokens == 12 * 2 * 60


def test_the_line_is_that_of_ordinary_least_squares_over_all_tokens():
    table = planted(slope=0.7, noise=0.5, between=0.3)
    found = proportionality(table, 20)
    for layer, own in [("all", table), *table.groupby("layer")]:
        x, y = np.log(own.predicted_impact), np.log(own.revert_impact)
        line, ratio = linregress(x, y), np.exp(y - x)
        low, high = np.quantile(ratio, [0.1, 0.9], method="inverted_cdf")
        expected = [line.slope, line.rvalue**2, 1 - (y - x).var() / y.var(), high / low, np.exp((y - x).mean())]
        assert [look_up(found, name, layer).value for name in STATISTICS] == pytest.approx(expected)


def test_without_the_jacobian_less_is_left():
    """The means stand for each sample and layer; impact = 0.2 norm variation, both of log variance 1."""
    table = planted(samples=20, tokens=200)
    found = proportionality(table, 20)
    for prediction, kept, other in (
        ("mean Jacobian", "variation_l2", "operator_norm"),
        ("mean update", "operator_norm", "variation_l2"),
    ):
        assert look_up(found, "r2", prediction=prediction).value == pytest.approx(0.5, abs=0.05)
        mean = table.groupby(["sample", "layer"])[other].transform("mean")
        line = linregress(np.log(table[kept] * mean), np.log(table.revert_impact))
        assert look_up(found, "slope", prediction=prediction).value == pytest.approx(line.slope)


def test_answers_have_a_bound_of_their_own():
    table = synthetic(samples=4)
    found = proportionality(table.assign(revert_answer=-table.predicted_answer / 4), 20)
    assert look_up(found, "constant", target="revert_answer unsigned").value == pytest.approx(0.25)
    bare = proportionality(table.assign(revert_answer=np.nan, drop_answer=np.nan), 20)
    assert not bare.target.str.contains("answer").any()


def test_tokens_without_an_impact_are_left_out():
    table = planted()
    table.loc[table.token < 10, "revert_impact"] = 0.0
    assert look_up(proportionality(table, 20), "slope").tokens == 12 * 2 * 50
    none = proportionality(planted(tokens=2, samples=1, layers=1), 20)
    assert np.isnan(look_up(none, "slope").value)


def test_a_single_sample_has_no_interval():
    row = look_up(proportionality(planted(samples=1, noise=1.0), 20), "slope")
    assert np.isnan([row.low, row.high]).all() and row.samples == 1


def test_intervals_cover_slope_and_constant_where_samples_differ():
    """40 samples whose constants differ; 95 % of 150 intervals with a z-bound of 3 below."""
    inside = np.zeros(2)
    for seed in range(150):
        table = planted(samples=40, layers=1, tokens=12, slope=0.8, noise=0.5, between=0.4, seed=10 * seed)
        table = table.assign(drop_impact=0.0, revert_answer=np.nan, drop_answer=np.nan)  # takes a quarter of the time
        found = proportionality(table, 200, seed)
        slope, constant = look_up(found, "slope"), look_up(found, "constant")
        # E log ratio = log 0.2 + (slope - 1) E log bound, and log bound has mean 0
        inside += [slope.low <= 0.8 <= slope.high, constant.low <= 0.2 <= constant.high]
    assert (inside >= 150 * 0.93 - 3 * np.sqrt(150 * 0.93 * 0.07)).all(), inside


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"seed": -1}, {"resamples": 2.5}])
def test_wrong_arguments_are_told_what_is_allowed(wrong, without_type_checker):
    with pytest.raises(ValueError, match="must be an int .*; got"):
        proportionality(planted(samples=2), **wrong)
