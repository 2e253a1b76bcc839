"""The statistics of the theorem's table, on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.theorem.statistics import summary as module
from analysis.theorem.statistics.impact_table import PREDICTORS
from analysis.theorem.statistics.summary import per_sample, summarise_impact
from tests.support.impact_tables import synthetic, with_labels


def look_up(summary, statistic, criterion="", target="revert_impact", versus="", layer="all", tokens="all"):
    wanted = {"statistic": statistic, "criterion": criterion, "target": target, "versus": versus, "layer": layer}
    wanted["tokens"] = tokens
    found = summary.loc[(summary[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1, wanted
    return found.iloc[0]


@pytest.fixture(scope="module")
def summary():
    return summarise_impact(synthetic())


@pytest.fixture
def means_only(monkeypatch):
    """A summary whose intervals are NaN: hundreds of bootstraps take nearly all of its time."""
    monkeypatch.setattr(module, "mean_interval", lambda values, **_: (np.mean(values), np.nan, np.nan, len(values)))


def test_what_the_target_is_made_of_ranks_it_perfectly(summary):
    for statistic in ("spearman", "kendall", "overlap@0.50", "overlap@0.33", "overlap@0.11"):
        row = look_up(summary, statistic, "first_order_impact")
        assert row["mean"] == pytest.approx(1)
        if "overlap" in statistic:  # a share that is 1 everywhere has the exact interval for as many samples
            assert 0 < row.low < 1 and row.high == 1
        else:  # numbers that are all alike have none
            assert np.isnan([row.low, row.high]).all()
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
    factors = ("variation_l2", "operator_norm", "gain_ratio", "beyond_first_order")
    shares = [look_up(summary, "lmg_share", factor)["mean"] for factor in factors]
    assert sum(shares) == pytest.approx(1)
    assert shares[-1] == pytest.approx(0, abs=1e-9)
    assert shares[0] == pytest.approx(1 / (2 + 0.55), abs=0.08)  # two of variance 1, log uniform(0.05, 1) of about 0.55
    answers = ("variation_l2", "answer_gradient", "answer_cosine", "beyond_first_order")
    target = "revert_answer unsigned"
    assert sum(look_up(summary, "lmg_share", each, target)["mean"] for each in answers) == pytest.approx(1)
    only = summarise_impact(synthetic(samples=3, power=(0, 1, 0)), permutations=1)
    assert look_up(only, "lmg_share", "operator_norm")["mean"] > 0.6  # what lies beyond first order undoes the others


def test_the_share_below_the_bound_counts_tokens(means_only):
    table = synthetic(layers=1)
    table["revert_impact"] = np.where(table.token % 4 == 0, 2.0, 0.5) * table.predicted_impact
    summary = summarise_impact(table, permutations=1)
    assert look_up(summary, "bound_holds")["mean"] == pytest.approx(0.75)
    assert look_up(summary, "looseness")["mean"] == pytest.approx(2)


def test_alignment_and_linear_error_are_quantiles_over_tokens(means_only):
    table = synthetic(samples=3, layers=1, tokens=11)
    table["gain_ratio"] = np.tile(np.arange(11) / 10, 3)
    table["top_cosine"] = table.gain_ratio / 2
    table["first_order_impact"] = table.revert_impact / 1.25
    summary = summarise_impact(table)
    for q in (10, 50, 90):
        assert look_up(summary, f"gain_ratio_{q}", target="")["mean"] == pytest.approx(q / 100)
        assert look_up(summary, f"top_cosine_{q}", target="")["mean"] == pytest.approx(q / 200)
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


@pytest.mark.parametrize("name", ["gain_ratio", "top_cosine"])
@pytest.mark.parametrize("null", ["random", "permuted", "same_label"])
def test_alignment_is_compared_with_each_null_token_by_token_and_within_labels(means_only, name, null):
    table = with_labels(synthetic(samples=3))
    less = np.where(table.label == "object", 0.25, 0.125)
    summary = summarise_impact(table.assign(**{f"{name}_{null}": table[name] - less}))
    for label, expected in (("object", 0.25), ("background", 0.125)):
        found = look_up(summary, f"{name}_minus", null, "", tokens=label)
        assert found["mean"] == pytest.approx(expected)


def test_what_was_not_measured_has_no_rows(means_only):
    bare = ["revert_answer", "drop_answer", "predicted_answer", "first_order_answer", "answer_gradient"]
    table = synthetic(samples=2).assign(**dict.fromkeys(bare, np.nan), gain_ratio_same_label=np.nan)
    summary = summarise_impact(table, permutations=1)
    assert not summary.target.str.contains("answer").any() and not summary.criterion.str.contains("answer").any()
    assert np.isnan(look_up(summary, "gain_ratio_minus", "same_label", "")["mean"])


def test_signed_and_unsigned_answers_are_told_apart(means_only):
    """The first order knows the sign; the bound, which has none, ranks sizes alone."""
    summary = summarise_impact(synthetic(samples=6, layers=1))
    signed, size = (look_up(summary, "spearman", "first_order_answer", f"revert_answer{x}") for x in ("", " unsigned"))
    assert signed["mean"] == pytest.approx(1) and abs(size["mean"]) < 0.15
    signed, size = (look_up(summary, "spearman", "predicted_answer", f"revert_answer{x}") for x in ("", " unsigned"))
    assert abs(signed["mean"]) < 0.15 and size["mean"] > 0.5
    assert look_up(summary, "helpful", "", "drop_answer")["mean"] == pytest.approx(0.5)
    assert look_up(summary, "same_sign", "first_order_answer", "revert_answer")["mean"] == 1


def test_quantiles_stand_where_a_maximum_would(means_only):
    table = synthetic(samples=2, layers=1, tokens=101).assign(drop_kl=lambda frame: frame.token / 100)
    summary = summarise_impact(table, permutations=1)
    for percent in (50, 90, 99):
        assert look_up(summary, f"quantile_{percent}", "", "drop_kl")["mean"] == pytest.approx(percent / 100)


def test_a_criterion_that_only_tells_labels_apart_ranks_nothing_within_them(means_only):
    """Simpson: objects have the larger impacts, within objects and background they are random."""
    table = with_labels(synthetic(samples=8, layers=1, tokens=90))
    rng, above = np.random.default_rng(0), np.where(table.label == "object", 1.0, 0.0)
    table = table.assign(token_norm=above + rng.random(len(table)), revert_impact=above + rng.random(len(table)))
    summary = summarise_impact(table, permutations=1)
    pooled = look_up(summary, "spearman", "token_norm")["mean"]
    assert pooled > 0.5
    for label in ("object", "background"):
        for statistic in ("spearman", "kendall"):
            assert abs(look_up(summary, statistic, "token_norm", tokens=label)["mean"]) < 0.12
    assert look_up(summary, "spearman", "token_norm", tokens="between labels")["mean"] == pytest.approx(pooled, abs=0.1)


def test_within_a_label_the_statistics_are_those_of_its_tokens_alone(means_only):
    table = with_labels(synthetic(samples=3, noise=1.0))
    summary, own = (summarise_impact(t, permutations=1) for t in (table, table[table.label == "object"]))
    for statistic in ("spearman", "kendall", "bound_holds", "looseness", "linear_error"):
        criterion = "attention_last" if statistic in ("spearman", "kendall") else ""
        within, alone = (look_up(each, statistic, criterion, tokens="object") for each in (summary, own))
        assert within["mean"] == pytest.approx(alone["mean"])
        assert alone["mean"] == pytest.approx(look_up(own, statistic, criterion)["mean"])


def test_labels_that_name_sets_of_tokens_are_refused():
    with pytest.raises(ValueError, match="label of the table must not hold all"):
        per_sample(synthetic(samples=1).assign(label="all"))


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
