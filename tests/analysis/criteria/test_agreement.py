"""Agreement of criteria: every pair once, chance is what chance gives, samples are the independent units."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from analysis.criteria.agreement import agreement, agreement_matrix, criterion_groups
from analysis.statistics.intervals import summarise_layers

NAMES = ["a", "b", "c"]
STATISTICS = ["spearman", "kendall", "overlap@0.50", "overlap@0.33", "overlap@0.11", "rbo"]


def synthetic(samples=2, layers=2, tokens=9, names=NAMES, seed=0):
    rng = np.random.default_rng(seed)
    keys = np.stack(np.meshgrid(range(samples), range(layers), range(tokens), indexing="ij")).reshape(3, -1)
    table = pd.DataFrame(dict(zip(["sample", "layer", "token"], keys, strict=True)))
    return table.join(pd.DataFrame(rng.random((len(table), len(names))), columns=list(names)))


def value(found, statistic, first="a", second="b", sample=0, layer=0):
    wanted = {"statistic": statistic, "first": first, "second": second, "sample": sample, "layer": layer}
    rows = found.loc[(found[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(rows) == 1, wanted
    return rows.iloc[0]["value"]


def test_every_pair_of_every_sample_and_layer_is_there_once():
    found = agreement(synthetic(), NAMES)
    keys = list(found[["sample", "layer", "statistic", "first", "second"]].itertuples(index=False, name=None))
    pairs = combinations(NAMES, 2)
    expected = {(s, lay, stat, *p) for p in pairs for s in range(2) for lay in range(2) for stat in STATISTICS}
    assert set(keys) == expected and len(keys) == len(expected)
    assert found[["value", "chance"]].notna().all(axis=None)


def test_values_belong_to_their_pair_sample_and_layer():
    table = synthetic()
    found = agreement(table, NAMES)
    for (sample, layer), group in table.groupby(["sample", "layer"]):
        for first, second in combinations(NAMES, 2):
            where = {"first": first, "second": second, "sample": sample, "layer": layer}
            x, y = group[first], group[second]
            assert value(found, "spearman", **where) == pytest.approx(spearmanr(x, y).statistic)
            assert value(found, "kendall", **where) == pytest.approx(kendalltau(x, y).statistic)
            common = set(x.nlargest(3).index) & set(y.nlargest(3).index)
            assert value(found, "overlap@0.33", **where) == pytest.approx(len(common) / 3)


def test_tokens_are_paired_by_their_position_however_the_rows_lie():
    table = synthetic().assign(a=lambda t: t.a.round(1))  # with ties, which go to the earlier token
    mixed = table.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(agreement(table, NAMES), agreement(mixed, NAMES))


def test_chance_is_the_mean_of_unrelated_rankings():
    names = [str(i) for i in range(60)]
    found = agreement(synthetic(1, 1, 12, names), names, ratios=(0.5, 0.25, 0.1))
    for _, group in found.groupby("statistic"):
        assert group.chance.nunique() == 1
        error = group.value.std() / np.sqrt(len(group))  # pairs share criteria but are uncorrelated
        assert group.value.mean() == pytest.approx(group.chance.iloc[0], abs=4 * error)
    assert found.groupby("statistic").chance.first()["overlap@0.10"] == pytest.approx(1 / 12)  # one token


def test_a_criterion_agrees_with_itself_and_contradicts_its_opposite():
    table = synthetic(1, 1, 10).assign(b=lambda t: t.a**3, c=lambda t: -t.a)
    found = agreement(table, NAMES, ratios=(0.5, 1.0))
    for statistic in ("spearman", "kendall", "overlap@0.50", "overlap@1.00", "rbo"):
        assert value(found, statistic) == pytest.approx(1)
    assert value(found, "spearman", "a", "c") == value(found, "kendall", "a", "c") == pytest.approx(-1)
    assert value(found, "overlap@0.50", "a", "c") == 0


def test_keeping_all_tokens_is_full_overlap_by_chance_as_well():
    found = agreement(synthetic(), NAMES, ratios=(1.0,))
    rows = found[found.statistic == "overlap@1.00"]
    assert len(rows) == 12 and (rows.value == 1).all() and (rows.chance == 1).all()


def test_persistence_is_that_of_rank_biased_overlap():
    table = pd.DataFrame({"sample": 0, "layer": 0, "token": [0, 1], "a": [1.0, 0.0], "b": [0.0, 1.0]})
    found = agreement(table, ["a", "b"], ratios=(), persistence=0.5).set_index("statistic")
    assert set(found.index) == {"spearman", "kendall", "rbo"}
    assert found.value["rbo"] == pytest.approx(0.5) and found.chance["rbo"] == pytest.approx(0.75)


def test_a_criterion_without_scores_in_a_layer_is_left_out_there():
    table = synthetic()
    table.loc[table.layer == 1, "b"] = np.nan
    found = agreement(table, NAMES)
    pairs = {lay: set(zip(g["first"], g.second, strict=True)) for lay, g in found.groupby("layer")}
    assert pairs == {0: set(combinations(NAMES, 2)), 1: {("a", "c")}}


def test_a_layer_with_no_two_criteria_says_nothing():
    table = synthetic()
    table.loc[table.layer == 1, "b"] = np.nan
    assert set(agreement(table, ["a", "b"]).layer) == {0}


def test_what_makes_no_rankings_is_refused():
    table = synthetic()
    with pytest.raises(ValueError, match="every token of a layer or for none; got 1 NaN of 18 at layer 0"):
        agreement(table.assign(b=table.b.where(table.index != 3)), NAMES)
    with pytest.raises(ValueError, match="there once; got 36 again.*numbers of their own"):
        agreement(pd.concat([table, table]), NAMES)
    with pytest.raises(ValueError, match=r"takes 2 tokens or more; got 1 at \(0, 0\)"):
        agreement(synthetic(tokens=1), NAMES)
    with pytest.raises(ValueError, match=r"got 36 rows without \['d'\]"):
        agreement(table, [*NAMES, "d"])
    with pytest.raises(ValueError, match=r"got 36 rows without \['layer'\]"):
        agreement(table.drop(columns="layer"), NAMES)
    with pytest.raises(ValueError, match="got 0 rows"):
        agreement(table.iloc[:0], NAMES)
    for ratios in ((0.0,), (0.5, 1.1), (0.33, 1 / 3)):
        with pytest.raises(ValueError, match=r"ratios must lie in \(0, 1\] and differ"):
            agreement(table, NAMES, ratios)
    for persistence in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"persistence must lie in \(0, 1\)"):
            agreement(table, NAMES, persistence=persistence)
    with pytest.raises(ValueError, match="b of the table must hold finite numbers or NaN; got inf in 1 of 36 rows"):
        agreement(table.assign(b=table.b.where(table.index != 3, np.inf)), NAMES)
    with pytest.raises(ValueError, match="at least one criterion must have scores; got none for a"):
        agreement(table.assign(a=np.nan), ["a"])


def test_criteria_that_were_never_compared_are_not_said_to_differ():
    table = synthetic(layers=2)
    first = table.layer == 0
    apart = agreement(table.assign(b=table.b.where(first), c=table.c.where(~first)), NAMES)
    alike = agreement_matrix(summarise_layers(apart, ["statistic", "first", "second"]), "spearman")
    assert np.isnan(alike.loc["b", "c"]) and alike.loc["a", ["b", "c"]].notna().all()
    with pytest.raises(ValueError, match="similarities: b must hold finite numbers; got nan in 1 of 3 rows"):
        criterion_groups(alike)


def test_samples_are_counted_and_not_their_layers():
    found = agreement(synthetic(samples=7, layers=3), NAMES)
    summary = summarise_layers(found, ["statistic", "first", "second"])
    assert (summary.n == 7).all() and len(summary) == 4 * 3 * 6  # three layers and all, pairs, statistics
    chosen = found.query("statistic == 'rbo' and first == 'a' and second == 'c'")
    row = summary.query("layer == 'all' and statistic == 'rbo' and first == 'a' and second == 'c'").iloc[0]
    assert row["mean"] == pytest.approx(chosen.value.mean()) and row.chance == pytest.approx(chosen.chance.mean())
    one = summary.query("layer == 2 and statistic == 'rbo' and first == 'a' and second == 'c'").iloc[0]
    assert one["mean"] == pytest.approx(chosen[chosen.layer == 2].value.mean())


def test_square_is_symmetric_with_1_on_the_diagonal():
    summary = summarise_layers(agreement(synthetic(), NAMES), ["statistic", "first", "second"])
    for layer in ("all", 1):
        found = agreement_matrix(summary, "kendall", layer)
        assert list(found.index) == list(found.columns) == NAMES
        assert (found == found.T).all(axis=None) and (np.diag(found) == 1).all()
        wanted = (summary.layer == layer) & (summary.statistic == "kendall")
        row = summary[wanted & (summary["first"] == "b") & (summary.second == "c")]
        assert found.loc["b", "c"] == row["mean"].item()


def test_planted_blocks_are_found_and_lie_side_by_side():
    rng = np.random.default_rng(0)
    names = ["x1", "y1", "z1", "x2", "y2", "x3"]
    source = dict(zip("xyz", rng.normal(size=(3, 40 * 30)), strict=True))
    table = synthetic(40, 1, 30, names)
    table = table.assign(**{name: source[name[0]] + 0.1 * table[name] for name in names})
    found = criterion_groups(
        agreement_matrix(summarise_layers(agreement(table, names), ["statistic", "first", "second"]), "spearman")
    )
    letters = [name[0] for name in found.index]
    assert sorted(found.index) == sorted(names) and list(found) == sorted(found) and found.iloc[0] == 1
    assert len(set(found)) == 3 == len(set(zip(letters, found, strict=True)))


def test_clusters_are_cut_at_the_mean_similarity():
    names = list("abc")
    alike = pd.DataFrame([[1.0, 0.8, 0.5], [0.8, 1.0, 0.3], [0.5, 0.3, 1.0]], names, names)  # a and b to c: 0.4
    assert [criterion_groups(alike, least).nunique() for least in (0.9, 0.7, 0.45, 0.35)] == [3, 2, 2, 1]
