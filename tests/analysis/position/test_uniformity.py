"""Distances from an even spread: worked out by hand, and their p-values uniform where there is nothing to find."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.position.detection import planted_kept
from analysis.position.distances import DISTANCES, gini, kolmogorov_smirnov, total_variation
from analysis.position.retention import retention
from analysis.position.uniformity import distance_from_uniform

rates = arrays(float, st.integers(2, 8), elements=st.floats(0, 1).map(lambda x: round(x, 2)))


def frame_of(patterns, criterion="a"):
    frames = [
        pd.DataFrame(
            {"sample": i, "criterion": criterion, "vision_index": range(len(pattern)), "kept": np.array(pattern) > 0}
        )
        for i, pattern in enumerate(patterns)
    ]
    return pd.concat(frames, ignore_index=True)


def many(trials, samples=25, tokens=40, share=0.3, ratio=1.0, block=1):
    """So many planted curves, each under its number."""
    made = [planted_kept(samples, tokens, share, ratio, block, seed=i).assign(criterion=i) for i in range(trials)]
    return pd.concat(made)


def found_share(found, null, level=0.05):
    """How often each distance's p-value is at most the level."""
    return (found[f"p_{null}"] <= level).groupby(found.distance).mean()


def curve(pattern, bins):
    """Share kept in each bin, counted token by token."""
    inside = [[bool(k) for rank, k in enumerate(pattern) if rank * bins // len(pattern) == b] for b in range(bins)]
    return np.array([np.mean(part) for part in inside])


@given(rates)
def test_distances_are_those_of_plain_loops(rates):
    assume(rates.sum() > 0)
    share, n = [x / sum(rates) for x in rates], len(rates)
    assert kolmogorov_smirnov(rates) == pytest.approx(max(abs(sum(share[: i + 1]) - (i + 1) / n) for i in range(n)))
    assert total_variation(rates) == pytest.approx(sum(max(0, x - 1 / n) for x in share), abs=1e-12)
    mean_difference = sum(abs(x - y) for x in rates for y in rates) / n**2
    assert gini(rates) == pytest.approx(mean_difference / (2 * np.mean(rates)), abs=1e-12)


def test_distances_by_hand():
    rates = np.array([0.1, 0.2, 0.3, 0.4])
    assert kolmogorov_smirnov(rates) == pytest.approx(0.2)
    assert total_variation(rates) == pytest.approx(0.2) and gini(rates) == pytest.approx(0.25)
    assert kolmogorov_smirnov(rates[::-1]) == pytest.approx(0.2)  # what lies early counts as well
    mixed = np.array([0.4, 0.1, 0.1, 0.4])  # the two ends: no cumulative distance as large as the displaced share
    assert kolmogorov_smirnov(mixed) == pytest.approx(0.15) and total_variation(mixed) == pytest.approx(0.3)
    for distance in DISTANCES.values():
        assert distance(np.full(7, 0.3)) == pytest.approx(0, abs=1e-12)
        assert distance(np.stack([rates, 2 * rates])) == pytest.approx([distance(rates)] * 2)
    assert [d(np.array([0.0, 0, 0, 1])) for d in DISTANCES.values()] == [0.75] * 3


def test_the_value_is_the_distance_of_the_retention_curve():
    frame = many(3, tokens=47)
    mean = retention(frame).pivot(index="criterion", columns="bin", values="mean")
    found = distance_from_uniform(frame, draws=9).set_index(["criterion", "distance"]).value
    for criterion, row in mean.iterrows():
        for name, distance in DISTANCES.items():
            assert found[criterion, name] == pytest.approx(distance(row.to_numpy()))


def test_layers_of_a_sample_are_curves_of_their_own():
    """Their kept tokens depend on each other, so neither null would hold for them together."""
    frame = pd.concat([many(1, tokens=47).assign(layer=0), many(2, tokens=47).query("criterion == 1").assign(layer=1)])
    frame = frame.assign(criterion="a")
    with pytest.raises(ValueError, match="must be there, once each.*got 94 of them, 47 different"):
        distance_from_uniform(frame, draws=9)
    found = distance_from_uniform(frame, ["layer"], draws=9).query("distance == 'ks'").set_index("layer").value
    for layer, group in frame.groupby("layer"):
        assert found[layer] == pytest.approx(kolmogorov_smirnov(retention(group)["mean"].to_numpy()))


def test_the_floor_is_what_random_dropping_gives():
    """Samples of different lengths and counts, against permutations one by one."""
    rng = np.random.default_rng(0)
    patterns = [np.arange(n) < kept for n, kept in ((20, 6), (31, 10), (20, 1), (7, 7))]
    found = distance_from_uniform(frame_of(patterns), bins=6, draws=3000).set_index("distance")
    null = [np.mean([curve(rng.permutation(p), 6) for p in patterns], 0) for _ in range(1500)]
    for name, distance in DISTANCES.items():
        drawn = np.array([distance(row) for row in null])
        assert found.floor[name] == pytest.approx(drawn.mean(), abs=4 * drawn.std() * np.sqrt(1 / 1500 + 1 / 3000))
        assert (drawn > found.floor_high[name]).mean() == pytest.approx(0.05, abs=0.03)


def test_p_values_are_the_shares_of_the_nulls_that_lie_as_far():
    """One sample of eight tokens in four bins: both nulls counted out, 28 ways to keep two and 8 shifts."""
    pattern = np.array([1, 0, 1, 0, 0, 0, 0, 0])
    ways = [curve(np.isin(range(8), (i, j)), 4) for i in range(8) for j in range(i)]
    shifts = [curve(np.roll(pattern, i), 4) for i in range(8)]
    found = distance_from_uniform(frame_of([pattern]), bins=4, draws=4000).set_index("distance")
    for name, distance in DISTANCES.items():
        value = distance(curve(pattern, 4))
        for null, drawn in (("random", ways), ("shift", shifts)):
            share = np.mean([distance(row) >= value - 1e-9 for row in drawn])
            assert found.loc[name, f"p_{null}"] == pytest.approx(share, abs=0.035) and found.value[name] == value


def test_without_a_bias_p_values_are_uniform():
    """Of 200 curves, for both nulls and all distances (binomial, 4 sd)."""
    found = distance_from_uniform(many(200, samples=12), draws=199)
    for level in (0.05, 0.25):
        for null in ("random", "shift"):
            error = np.abs(found_share(found, null, level) - level)
            assert (error <= 4 * np.sqrt(level * (1 - level) / 200)).all()


def test_content_that_hangs_together_deceives_random_dropping_but_not_shifts():
    found = distance_from_uniform(many(80, block=8), draws=199)
    assert (found_share(found, "random") > 0.5).all()
    assert (found_share(found, "shift") < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 80)).all()


@pytest.mark.parametrize(("block", "ratio"), [(1, 2.0), (4, 4.0)])
def test_a_planted_bias_is_found_by_both(block, ratio):
    found = distance_from_uniform(many(40, samples=40, ratio=ratio, block=block), draws=199)
    for null in ("random", "shift"):
        assert (found_share(found, null) > 0.8).all()


def test_all_kept_is_even_and_certain():
    found = distance_from_uniform(frame_of([np.ones(20), np.ones(33)]), draws=99)
    assert found.value.to_numpy() == pytest.approx(0, abs=1e-12)
    assert found.floor.to_numpy() == pytest.approx(0, abs=1e-12) and found.floor_high.max() < 1e-12
    assert (found[["p_random", "p_shift", "q_random", "q_shift"]] == 1).all(axis=None)


def test_an_extreme_pattern_has_the_smallest_p_there_is():
    found = distance_from_uniform(frame_of([np.arange(50) < 10] * 20), draws=49)
    assert found.p_random.tolist() == found.p_shift.tolist() == [1 / 50] * 3
    assert (found.value > found.floor_high).all() and (found.floor_high > found.floor).all()


def test_curves_that_keep_as_many_share_the_floor():
    patterns = [np.arange(20) < 6, np.arange(30) < 9]
    turned, longer = frame_of([p[::-1] for p in patterns], "b"), frame_of([patterns[1]] * 2, "c")
    floor = distance_from_uniform(pd.concat([frame_of(patterns), turned, longer]), draws=99).pivot(
        index="distance", columns="criterion", values="floor"
    )
    assert (floor.a == floor.b).all() and (floor.a != floor.c).all()


def test_the_seed_gives_the_same_result_and_another_one_another():
    frame = many(2)
    pd.testing.assert_frame_equal(distance_from_uniform(frame, draws=49), distance_from_uniform(frame, draws=49))
    mixed = frame.sample(frac=1, random_state=0).sort_values("criterion", kind="stable")
    pd.testing.assert_frame_equal(distance_from_uniform(frame, draws=49), distance_from_uniform(mixed, draws=49))
    other = distance_from_uniform(frame, draws=49, seed=1)
    assert (other.floor != distance_from_uniform(frame, draws=49).floor).all()


def test_q_is_corrected_for_all_rows():
    found = distance_from_uniform(many(3, ratio=1.5), draws=99)
    for null in ("random", "shift"):
        p, q = found[f"p_{null}"].to_numpy(), found[f"q_{null}"].to_numpy()
        expected = [min(p[p >= x] * 9 / [(p <= y).sum() for y in p[p >= x]]) for x in p]
        assert q == pytest.approx(np.minimum(expected, 1)) and len(q) == 9


def test_what_has_no_distance_is_refused():
    frame = frame_of([np.arange(12) < 4] * 3)
    with pytest.raises(ValueError, match="every curve must keep some tokens; got one that keeps nothing"):
        distance_from_uniform(frame.assign(kept=False))
    with pytest.raises(ValueError, match="kept of the kept tokens must hold True and False; got 1.0 in 36 of 36 rows"):
        distance_from_uniform(frame.assign(kept=1.0))
    with pytest.raises(ValueError, match="draws must be an int of 1 or more; got 0"):
        distance_from_uniform(frame, draws=0)
    for bins in (1, 13):
        with pytest.raises(ValueError, match=f"bins must lie between 2 and the tokens of a sample, 12; got {bins}"):
            distance_from_uniform(frame, bins=bins)
