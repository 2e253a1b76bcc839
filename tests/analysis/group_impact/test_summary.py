"""Correlations of criteria with measured effects, on frames in which the true ones are known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from analysis import group_summary
from analysis.group_impact.summary import SUMMARY


def frames(samples=12, layers=(0, 3), tokens=60, noise=0.0, seed=0):
    """Effects and criteria: `same` is the true effect, `size` its absolute value, `random` nothing."""
    rng, effects, table = np.random.default_rng(seed), [], []
    for sample in range(samples):
        for layer in layers:
            true = rng.normal(size=tokens)
            keys = {"sample": sample, "layer": layer, "token": np.arange(tokens) + 1}
            table.append(pd.DataFrame(keys | {"same": true, "size": abs(true), "random": rng.random(tokens)}))
            for effect in ("inclusion@0.33", "shapley"):
                first, second = true + noise * np.sqrt(2) * rng.normal(size=(2, tokens))
                halves = {"value": (first + second) / 2, "first_half": first, "second_half": second}
                effects.append(pd.DataFrame(keys | {"effect": effect} | halves))
    return pd.concat(effects, ignore_index=True), pd.concat(table, ignore_index=True)


CRITERIA = ["same", "size", "random"]


def look_up(summary, criterion, target="signed", layer=0, effect="inclusion@0.33", tokens="all", versus=""):
    wanted = {"layer": layer, "effect": effect, "target": target, "criterion": criterion}
    wanted |= {"tokens": tokens, "versus": versus}
    found = summary.loc[(summary[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def test_without_noise_the_true_criterion_ranks_perfectly_and_signs_matter():
    summary = group_summary(*frames(), CRITERIA)
    assert summary.columns.tolist() == SUMMARY and len(summary) == 2 * 2 * 2 * 3 and (summary.tokens == "all").all()
    for criterion, target, value in (("same", "signed", 1), ("size", "absolute", 1)):
        row = look_up(summary, criterion, target)
        assert row["mean"] == row.corrected == row.reliability == pytest.approx(value) and row.n == 12
    assert abs(look_up(summary, "size")["mean"]) < 0.2 and abs(look_up(summary, "same", "absolute")["mean"]) < 0.2


def test_the_mean_is_that_of_scipys_correlations():
    effects, table = frames(noise=1.0)
    row = look_up(group_summary(effects, table, "same"), "same", layer=3, effect="shapley")
    values = []
    for sample in range(12):
        one = effects[(effects["sample"] == sample) & (effects.layer == 3) & (effects.effect == "shapley")]
        score = table[(table["sample"] == sample) & (table.layer == 3)].same
        values.append(spearmanr(one.value, score).statistic)
    assert row["mean"] == pytest.approx(np.mean(values)) and row.low < row["mean"] < row.high


@pytest.mark.parametrize(("noise", "error"), [(0.7, 0.03), (1.5, 0.09)])  # twice the standard error of the mean
def test_correction_takes_the_noise_of_the_subsets_off(noise, error):
    row = look_up(group_summary(*frames(samples=40, tokens=144, noise=noise), CRITERIA), "same")
    reliability = 1 / (1 + noise**2)
    assert row["mean"] == pytest.approx(np.sqrt(reliability), abs=0.05)
    assert row.reliability == pytest.approx(reliability, abs=0.05)
    assert row.corrected == pytest.approx(1, abs=error) and row.corrected_low < row.corrected < row.corrected_high


def test_random_criteria_fall_into_the_null():
    """Ranking at random: its variance is known, 1 / (tokens - 1) in each sample."""
    effects = frames(samples=8, layers=[0], noise=1.0)[0].query("effect == 'shapley'")
    keys, rng = effects[["sample", "layer", "token"]], np.random.default_rng(0)
    inside = []
    for _ in range(4):
        table = keys.assign(**{f"draw {i}": rng.random(len(keys)) for i in range(70)})
        summary = group_summary(effects, table, [f"draw {i}" for i in range(70)])
        assert summary.null.to_numpy() == pytest.approx(1.96 / np.sqrt(8 * 59), rel=1e-3)
        inside.append((summary["mean"].abs() <= summary.null).groupby(summary.target).mean())
    assert pd.concat(inside, axis=1).mean(axis=1).between(0.91, 0.98).all()


def test_tokens_are_joined_by_their_order_whatever_padding_adds_and_in_any_row_order():
    effects, table = frames(noise=1.0)
    expected = group_summary(effects, table, CRITERIA)
    padded = table.assign(token=table.token + 5 * table["sample"])
    shuffled = padded.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(group_summary(effects, shuffled, CRITERIA), expected)
    mixed = effects.sample(frac=1, random_state=1)
    both = [
        f.sort_values(["layer", "effect", "target", "criterion"], ignore_index=True)
        for f in (group_summary(mixed, table, CRITERIA), expected)
    ]
    pd.testing.assert_frame_equal(*both)


def test_what_only_one_frame_has_is_left_out():
    effects, table = frames(layers=(0, 3, 5))
    some = table[(table.layer != 5) & (table["sample"] < 7)]
    summary = group_summary(effects, some, CRITERIA)
    assert set(summary.layer) == {0, 3} and (summary.n == 7).all()


def test_a_criterion_that_tells_classes_apart_ranks_nothing_inside_them():
    """Effects are a class mean plus noise of their own; one criterion knows the class, one the rest."""
    rng = np.random.default_rng(3)
    effects, table = frames(samples=20, layers=[0])
    is_object = table.groupby("sample").token.transform(lambda token: token <= 20).to_numpy()
    inside = rng.normal(size=len(table))
    table = table.assign(label=np.where(is_object, "object", "background"), inside=inside)
    table["mask"] = is_object + 0.01 * rng.random(len(table))
    true = 10 * is_object + inside
    true = np.concatenate([np.tile(part, 2) for part in np.split(true, 20)])  # both effects of a sample
    effects = effects.assign(value=true, first_half=true, second_half=true)
    summary = group_summary(effects, table, ["mask", "inside"], versus="inside")
    for tokens in ("object", "background"):
        assert look_up(summary, "inside", tokens=tokens)["mean"] == pytest.approx(1)
        assert abs(look_up(summary, "mask", tokens=tokens)["mean"]) < 0.1
    whole, between = (look_up(summary, "mask", tokens=tokens) for tokens in ("all", "between labels"))
    assert whole["mean"] == pytest.approx(between["mean"], abs=0.05) and np.isnan(between.reliability)
    gain = look_up(summary, "mask", versus="inside")
    assert gain["mean"] == pytest.approx(whole["mean"] - look_up(summary, "inside")["mean"])
    assert gain.low < gain["mean"] < gain.high and np.isnan(gain.corrected)


def test_tokens_that_the_table_lacks_are_left_out_by_their_positions():
    effects, table = frames(noise=1.0)
    left_out = (table.token == 5) & (table["sample"] % 2 == 0)
    found = group_summary(effects, table[~left_out], "same")
    without = effects[~((effects.token == 5) & (effects["sample"] % 2 == 0))]
    pd.testing.assert_frame_equal(found, group_summary(without, table[~left_out], "same"))
    assert not found.equals(group_summary(effects, table, "same"))


def test_statistics_that_do_not_exist_are_nan():
    effects, table = frames(samples=3, layers=[0])
    effects.loc[effects.effect == "shapley", ["value", "first_half", "second_half"]] = np.nan
    table["same"] = np.nan
    summary = group_summary(effects, table, CRITERIA)
    for row in (look_up(summary, "same"), look_up(summary, "random", effect="shapley")):
        assert row.n == 0 and row[["mean", "low", "null", "reliability", "corrected"]].isna().all()
    noise = effects.assign(first_half=lambda f: -f.second_half)
    row = look_up(group_summary(noise, table, ["size"]), "size")
    assert np.isnan(row.corrected) and not np.isnan(row["mean"])


def test_frames_of_different_questions_are_refused():
    effects, table = frames()
    some = effects[(effects["sample"] > 0) | (effects.token != 7)]
    with pytest.raises(ValueError, match="or the table some of them; got 59 and 60 of them for sample 0, layer 0"):
        group_summary(some, table, CRITERIA)
    taken = table.assign(label="all")
    with pytest.raises(ValueError, match="label of the table must not hold any of"):
        group_summary(effects, taken, CRITERIA)
    with pytest.raises(ValueError, match="versus must be one of 'same', 'size', 'random'; got 'luck'"):
        group_summary(effects, table, CRITERIA, versus="luck")
    for other in (table.assign(layer=table.layer + 9), table.assign(sample=table["sample"] + 99)):
        with pytest.raises(
            ValueError, match="must have a sample and layer in common; got the layers 0, 3 of 12 samples and the layers"
        ):
            group_summary(effects, other, CRITERIA)
    with pytest.raises(ValueError, match="must not hold value, which is the name of another column here"):
        group_summary(effects, table.assign(value=1.0), "value")
