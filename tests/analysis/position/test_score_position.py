"""Correlation of score and position: its size, and the level of its test."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from analysis.position.retention import score_position
from tests.support.planted_scores import planted_scores


def correlated(scores, by_layer):
    """`score_position` of [layers * samples, tokens], the samples of each layer numbered anew."""
    n, tokens = scores.shape
    keys = {"sample": np.repeat(np.arange(n) % by_layer, tokens), "layer": np.repeat(np.arange(n) // by_layer, tokens)}
    return score_position(pd.DataFrame(keys | {"token": np.tile(np.arange(tokens), n), "a": scores.flatten()}), ["a"])


def test_correlations_are_spearmans_within_each_sample():
    scores = np.random.default_rng(0).integers(0, 5, (6, 9)) / 1.0
    found = correlated(scores, 3)
    for layer in range(2):
        expected = [spearmanr(row, np.arange(9)).statistic for row in scores[3 * layer : 3 * layer + 3]]
        assert found["mean"][layer] == pytest.approx(np.mean(expected)) and found.n[layer] == 3
        assert found.low[layer] <= found["mean"][layer] <= found.high[layer] and found.layer[layer] == layer


@pytest.mark.parametrize("walk", [False, True])
def test_without_a_bias_the_test_finds_one_at_its_level(walk):
    """Of 200 tables; also if a picture's tokens hang together, as a random walk's steps do: samples are independent."""
    scores = np.random.default_rng(2).normal(size=(200 * 15, 16))
    found = correlated(scores.cumsum(1) if walk else scores, 15)
    for level in (0.05, 0.5):
        assert (found.p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 200))


def test_a_planted_bias_is_found_and_its_size_recovered():
    """Spearman's correlation of a line and normal noise lies a little below Pearson's, the root of the share."""
    for share in (0.04, 0.25, 0.81):
        table = planted_scores(30, 100, share).assign(start=lambda t: -t.planted / 1e6)
        row, start = score_position(table, ["planted", "start"]).iloc
        assert row["mean"] == pytest.approx(np.sqrt(share), abs=0.05) and row.p < 0.001 and row.low > 0
        assert start["mean"] == -row["mean"] and start.p == row.p and start.high < 0
    assert score_position(planted_scores(30, 100, 1.0), ["planted"])["mean"].item() == pytest.approx(1)


def test_constant_scores_have_no_bias():
    row = score_position(planted_scores(5, 9, 0.5).assign(planted=2.0), ["planted"]).iloc[0]
    assert row["mean"] == 0 and row.p == row.q == 1 and np.isnan([row.low, row.high]).all()


def test_q_is_benjamini_and_hochbergs():
    trend = np.array([0, 0, 1, 3, 0, 2])[:, None, None] * np.linspace(-1, 1, 9) / 2
    scores = trend + np.random.default_rng(1).normal(size=(6, 8, 9))
    found = correlated(scores.reshape(-1, 9), 8)
    p, m = found.p.to_numpy(), len(found)
    place = rankdata(p, method="max")
    expected = [min(1, min(p[j] * m / place[j] for j in range(m) if p[j] >= p[i])) for i in range(m)]
    assert found.q.to_numpy() == pytest.approx(expected) and (found.q >= found.p).all() and (found.q > found.p).any()


def test_what_has_no_correlation_is_refused():
    table = planted_scores(2, 5, 0.0)
    with pytest.raises(ValueError, match="every token of a layer or for none; got 1 NaN of 10 at layer 0"):
        score_position(table.assign(planted=table.planted.where(table.index > 0)), ["planted"])
    with pytest.raises(ValueError, match=r"takes 2 tokens or more; got 1 at \(0, 0\)"):
        score_position(table[table.token == 0], ["planted"])
