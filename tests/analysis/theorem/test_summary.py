"""The statistics of the theorem's table, on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.theorem import summary as module
from analysis.theorem.summary import FACTORS, PREDICTORS, per_sample, summarise_impact
from tests.support.impact_tables import synthetic


def look_up(summary, statistic, criterion="", target="revert_impact", versus="", layer="all"):
    wanted = {"statistic": statistic, "criterion": criterion, "target": target, "versus": versus, "layer": layer}
    found = summary.loc[(summary[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1, wanted
    return found.iloc[0]


@pytest.fixture(scope="module")
def summary():
    return summarise_impact(synthetic())


@pytest.fixture
def means_only(monkeypatch):
    """A summary whose intervals are NaN: hundreds of bootstraps take nearly all of its time."""
    monkeypatch.setattr(module, "mean_interval", lambda values: (np.mean(values), np.nan, np.nan, len(values)))


def test_what_the_target_is_made_of_ranks_it_perfectly(summary):
    for statistic in ("spearman", "kendall", "overlap@0.50", "overlap@0.33", "overlap@0.11"):
        row = look_up(summary, statistic, "first_order_impact")
        assert row["mean"] == pytest.approx(1) and np.isnan([row.low, row.high]).all()  # all alike: no interval
    assert look_up(summary, "spearman", "first_order_impact", "drop_impact")["mean"] == pytest.approx(-1)


def test_a_random_criterion_and_a_permuted_one_rank_by_chance(summary):
    for criterion in ("random", "variation_l2 permuted"):
        assert abs(look_up(summary, "spearman", criterion)["mean"]) < 0.08
        for ratio in (0.5, 1 / 3, 1 / 9):
            assert look_up(summary, f"overlap@{ratio:.2f}", criterion)["mean"] == pytest.approx(ratio, abs=0.06)


def test_permuting_the_updates_leaves_to_the_bound_what_the_jacobian_knows(means_only):
    summary = summarise_impact(synthetic(layers=1, power=(0, 1, 0)))
    assert look_up(summary, "spearman", "operator_norm")["mean"] == pytest.approx(1)
    permuted, kept = (look_up(summary, "spearman", f"predicted_impact{x}") for x in (" permuted", ""))
    assert permuted["mean"] == pytest.approx(kept["mean"], abs=0.05) and permuted["mean"] > 0.5


def test_permuting_the_updates_takes_from_the_bound_what_they_know(means_only):
    summary = summarise_impact(synthetic(layers=1, power=(1, 0, 0)))
    assert look_up(summary, "spearman", "predicted_impact")["mean"] > 0.5
    assert abs(look_up(summary, "spearman", "predicted_impact permuted")["mean"]) < 0.08


def test_overlap_is_that_of_the_highest(means_only):
    table = synthetic(samples=2, layers=1, tokens=6)
    table["token_norm"] = [9.0, 8, 1, 2, 3, 4] * 2
    table["revert_impact"] = [6.0, 5, 4, 1, 2, 3] * 2  # the two lowest differ, the two highest are the same
    summary = summarise_impact(table)
    assert look_up(summary, "overlap@0.33", "token_norm")["mean"] == 1
    assert look_up(summary, "overlap@0.50", "token_norm")["mean"] == pytest.approx(2 / 3)


def test_shares_of_the_variance_add_up_and_are_the_planted_ones(summary, means_only):
    shares = [look_up(summary, "variance_share", factor)["mean"] for factor in FACTORS]
    assert sum(shares) == pytest.approx(1)
    assert shares[-1] == pytest.approx(0, abs=1e-9)
    assert shares[0] == pytest.approx(1 / (2 + 0.55), abs=0.08)  # two of variance 1, log uniform(0.05, 1) of about 0.55
    only = summarise_impact(synthetic(samples=3, power=(0, 1, 0)), permutations=1)
    assert look_up(only, "variance_share", "operator_norm")["mean"] == pytest.approx(1)


def test_the_share_below_the_bound_counts_tokens(means_only):
    table = synthetic(layers=1)
    table["revert_impact"] = np.where(table.token % 4 == 0, 2.0, 0.5) * table.predicted_impact
    summary = summarise_impact(table, permutations=1)
    assert look_up(summary, "bound_holds")["mean"] == pytest.approx(0.75)
    assert look_up(summary, "looseness")["mean"] == pytest.approx(2)


def test_alignment_and_linear_error_are_quantiles_over_tokens(means_only):
    table = synthetic(samples=3, layers=1, tokens=11)
    table["alignment"] = np.tile(np.arange(11) / 10, 3)
    table["first_order_impact"] = table.revert_impact / 1.25
    summary = summarise_impact(table)
    for q in (10, 50, 90):
        assert look_up(summary, f"alignment_{q}", target="")["mean"] == pytest.approx(q / 100)
    assert look_up(summary, "linear_error")["mean"] == pytest.approx(0.25)


def test_a_paired_difference_is_the_difference_of_the_means_with_a_narrower_interval():
    table = synthetic(noise=1.0, samples=20, layers=1)
    summary = summarise_impact(table, permutations=1)
    one, base = (look_up(summary, "spearman", name) for name in ("predicted_impact", "variation_l2"))
    gain = look_up(summary, "spearman", "predicted_impact", versus="variation_l2")
    assert gain["mean"] == pytest.approx(one["mean"] - base["mean"])
    assert gain.low <= gain["mean"] <= gain.high and gain.low > 0
    assert gain.high - gain.low < (one.high - one.low) + (base.high - base.low)


def test_tables_that_all_call_their_prompt_sample_0_are_refused(means_only):
    one, two = (synthetic(samples=1, seed=seed) for seed in (0, 1))
    with pytest.raises(ValueError, match=r"there once; got 120 again.*numbers of their own, as by frame.assign"):
        summarise_impact(pd.concat([one, two]))
    assert set(summarise_impact(pd.concat([one, two.assign(sample=1)])).samples) == {2}


def test_what_cannot_be_summarised_is_refused(means_only):
    table = synthetic(samples=2)
    with pytest.raises(ValueError, match="drop_impact of the table must hold finite numbers; got nan in 1 of 240 rows"):
        summarise_impact(table.assign(drop_impact=table.drop_impact.where(table.index > 0)))
    with pytest.raises(ValueError, match="must hold tokens with an impact"):
        summarise_impact(table.assign(first_order_impact=0.0))
    for wrong in ({"permutations": 0}, {"ratios": (2.0,)}, {"ratios": (0.0,)}):
        with pytest.raises(
            ValueError, match=r"(permutations must be an int of 1 or more|ratios must lie in \(0, 1\]).*; got"
        ):
            summarise_impact(table, **wrong)


def test_the_gain_in_alignment_is_the_median_difference_to_a_random_direction(means_only):
    table = synthetic(samples=3)
    gain = look_up(summarise_impact(table.assign(alignment_random=table.alignment - 0.25)), "alignment_gain", target="")
    assert gain["mean"] == pytest.approx(0.25)


def test_a_single_sample_has_no_interval():
    row = look_up(summarise_impact(synthetic(samples=1)), "spearman", "operator_norm")
    assert row.samples == 1 and np.isnan(row.low) and np.isnan(row.high) and not np.isnan(row["mean"])


def test_the_pooled_row_is_the_mean_over_layers_of_each_sample(means_only):
    table = synthetic(samples=5, layers=3)
    values, summary = per_sample(table), summarise_impact(table)
    chosen = values[(values.statistic == "kendall") & (values.criterion == "token_norm")]
    expected = chosen[chosen.target == "revert_impact"].groupby("sample").value.mean()
    row = look_up(summary, "kendall", "token_norm")
    assert row["mean"] == pytest.approx(expected.mean()) and row.samples == len(expected) == 5


def test_layers_without_any_impact_say_nothing():
    table = synthetic(layers=2)
    table.loc[table.layer == 1, ["revert_impact", "drop_impact", "first_order_impact"]] = 0.0
    assert set(per_sample(table).layer) == {0}


def test_a_constant_criterion_ranks_nothing(means_only):
    summary = summarise_impact(synthetic().assign(token_norm=1.0), permutations=1)
    assert look_up(summary, "spearman", "token_norm")["mean"] == look_up(summary, "kendall", "token_norm")["mean"] == 0
    assert look_up(summary, "overlap@0.50", "token_norm")["mean"] == pytest.approx(0.5, abs=0.06)  # the first half


def test_a_criterion_that_was_not_measured_is_left_out_and_half_a_one_is_refused(means_only):
    table = synthetic(samples=3).assign(attention_last=np.nan)
    assert "attention_last" not in set(summarise_impact(table).criterion)
    table.loc[0, "attention_last"] = 1.0
    with pytest.raises(ValueError, match="attention_last must be a number for every token or for none; got 59 NaN"):
        summarise_impact(table)


def test_every_criterion_is_compared_with_the_one_asked_for(means_only):
    summary = summarise_impact(synthetic(samples=3), versus="random")
    compared = summary[(summary.versus == "random") & (summary.statistic == "spearman")]
    assert set(compared.criterion) >= set(PREDICTORS) - {"random"} and "random" not in set(compared.criterion)
    with pytest.raises(ValueError, match="versus must be one of 'variation_l2', .*; got 'luck'"):
        summarise_impact(synthetic(samples=3), versus="luck")
