"""Planted biases are of the size they are said to be; the tests of position find them, and nothing where none is."""

import numpy as np
import pytest

from analysis.position.detection import detection_power, planted_kept


def mask(**options):
    """Kept flags [samples, tokens]."""
    frame = planted_kept(**options)
    assert list(frame.columns) == ["sample", "criterion", "vision_index", "kept"] and frame.kept.dtype == bool
    wide = frame.pivot(index="sample", columns="vision_index", values="kept")
    assert wide.notna().all(axis=None) and set(frame.criterion) == {"planted"}
    return wide.to_numpy()


@pytest.mark.parametrize("block", [1, 5])
@pytest.mark.parametrize(("share", "ratio"), [(0.3, 1.0), (0.3, 2.0), (0.2, 0.25), (0.5, 0.0)])
def test_every_bin_keeps_what_it_should(block, share, ratio):
    samples, bins = 3000, 5
    kept = mask(samples=samples, tokens=40, share=share, ratio=ratio, block=block, bins=bins)
    start = 2 * share / (1 + ratio)
    expected = np.linspace(start, start * ratio, bins)
    found = kept.reshape(samples, bins, 8).mean((0, 2))
    assert found == pytest.approx(expected, abs=4 * 0.5 * np.sqrt(block / (8 * samples)) + 1e-9)
    assert kept.mean() == pytest.approx(share, abs=0.02)


def test_bins_of_unequal_size_are_those_of_the_retention_curve():
    kept = mask(samples=4000, tokens=7, share=0.5, ratio=3.0, bins=3)  # bins of 3, 2 and 2 tokens
    assert kept.mean(0) == pytest.approx(np.repeat([0.25, 0.5, 0.75], [3, 2, 2]), abs=4 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize("block", [1, 2, 6])
def test_blocks_hang_together_and_start_anywhere(block):
    """Neighbours lie in different blocks once in a block's length, and then differ half of the time."""
    kept = mask(samples=3000, tokens=24, share=0.5, ratio=1.0, block=block)
    differ = (kept[:, 1:] != kept[:, :-1]).mean(0)
    assert differ == pytest.approx(np.full(23, 0.5 / block), abs=4 * 0.5 / np.sqrt(3000))
    inner = np.diff(np.flatnonzero(np.diff(np.concatenate(kept[:1].astype(int)))))
    assert (inner % block == 0).all()


def test_blocks_go_on_round_the_end():
    """Four blocks of six in 24 tokens: the last and the first token are in different ones once in six."""
    kept = mask(samples=3000, tokens=24, share=0.5, ratio=1.0, block=6)
    assert (kept[:, 0] != kept[:, -1]).mean() == pytest.approx(0.5 / 6, abs=4 * 0.5 / np.sqrt(3000))


def test_the_seed_gives_the_same_draws():
    options = {"samples": 4, "tokens": 30, "share": 0.3, "ratio": 2.0}
    assert (mask(**options) == mask(**options)).all() and (mask(**options) != mask(**options, seed=1)).any()


@pytest.mark.parametrize(("share", "ratio"), [(0.7, 3.0), (0.6, 0.1), (0.0, 1.0), (-0.2, 1.0), (1.1, 1.0)])
def test_shares_that_no_bias_can_have_are_refused(share, ratio):
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]; got"):
        planted_kept(2, 20, share, ratio)


@pytest.mark.parametrize(("ratio", "bins"), [(-0.5, 10), (-1.0, 10), (1.0, 1)])
def test_what_is_no_ratio_or_no_bins_is_refused(ratio, bins):
    with pytest.raises(ValueError, match=r"(ratio must be a finite number of 0|bins must be an int of 2) or more; got"):
        planted_kept(2, 20, 0.2, ratio, bins=bins)


def test_more_bins_than_tokens_are_refused():
    """Some bins were left out, and the share kept was another than the one asked for."""
    with pytest.raises(ValueError, match="bins must lie between 2 and the tokens of a sample, 5; got 10"):
        planted_kept(1, 5, 0.5, 2.0)


def test_the_largest_shares_are_kept_whole():
    assert mask(samples=3, tokens=20, share=1.0, ratio=1.0).all()
    kept = mask(samples=50, tokens=20, share=0.5, ratio=0.0, bins=10)
    assert kept[:, :2].all() and not kept[:, -2:].any()


def test_the_tests_keep_their_level_and_gain_power():
    """60 tables without a bias, 20 with a small and a larger one: the table of power that the notebook shows."""
    options = {"samples": 15, "tokens": 24, "share": 1 / 3, "trials": 20}
    none = detection_power(1.0, **options | {"trials": 60})
    small, large = (detection_power(ratio, **options) for ratio in (2.0, 5.0))
    assert list(none) == ["correlation", "ks random", "ks shift"]
    for test, level in none.items():
        assert level <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 60)
        assert level < small[test] < large[test] and large[test] > 0.9, (none, small, large)


def test_where_tokens_hang_together_only_random_dropping_is_the_wrong_null():
    alarms = detection_power(1.0, samples=20, tokens=48, share=1 / 3, block=8, trials=40)
    assert alarms["ks random"] > 0.4
    assert max(alarms["correlation"], alarms["ks shift"]) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 40)


def test_power_counts_at_the_level_asked_for():
    options = {"samples": 6, "tokens": 20, "share": 0.3, "trials": 8}
    assert set(detection_power(1.0, **options, level=1.0).values()) == {1.0}
    assert set(detection_power(2.0, **options, level=0.0).values()) == {0.0}
