"""Comparing methods: budgets that are met, pairs whose differences are known, sets whose overlap is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison.at_one_average import (
    NOTHING_DROPPED,
    accuracy_at_averages,
    methods_at_average,
)
from analysis.comparison.kept_tokens import kept_at_end, kept_overlap
from analysis.comparison.pairs import pairwise_differences
from analysis.comparison.wins import win_counts
from analysis.efficiency.latency import relative_time
from analysis.scenes.question_seeds import with_question_seeds
from analysis.scenes.questions import sample
from v2drop import METHODS, Random, Schedule

NAMES = ["v2drop", "fastv", "random"]


@pytest.fixture(scope="module")
def answers(embedded):
    return accuracy_at_averages(embedded, sample(10), [48, 96], NAMES)


def test_all_methods_meet_the_average(answers):
    assert list(answers.method.unique()) == [NOTHING_DROPPED, *NAMES]
    assert len(answers) == 10 * (1 + 2 * len(NAMES))
    assert (answers.average_tokens - answers.budget).abs().max() <= 1


def test_methods_that_compare_frames_are_left_out_of_single_pictures():
    assert set(METHODS) - set(methods_at_average(72, 144, 12)) == {
        name for name in METHODS if METHODS[name].needs_frames
    }
    for name, method in methods_at_average(72, 144, 12).items():
        assert method.schedule.average(144, 12) == pytest.approx(72, abs=1), name


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"names must be of METHODS, v2drop, .*; got fastw\."):
        methods_at_average(72, 144, 12, ["fastw", "fastv"])


def frame(**right):
    rows = [(name, 48, i, bool(x)) for name, values in right.items() for i, x in enumerate(values)]
    return pd.DataFrame(rows, columns=["method", "budget", "question", "right"])


def test_pairs_find_a_difference_and_none():
    rng = np.random.default_rng(0)
    good, bad = rng.random(200) < 0.8, rng.random(200) < 0.5
    found = pairwise_differences(frame(good=good, bad=bad, also_bad=rng.random(200) < 0.5)).set_index(
        ["first", "second"]
    )
    assert found.loc[("good", "bad"), "difference"] == pytest.approx(good.mean() - bad.mean())
    assert found.loc[("good", "bad"), "q"] < 0.01 and found.loc[("good", "bad"), "low"] > 0
    assert found.loc[("bad", "also_bad"), "q"] > 0.05
    assert (found.q >= found.p).all() and (found.p > 0).all()


def test_pairs_are_paired():
    """Methods that differ on one question of 100 in the same direction: the unpaired noise would drown it."""
    base = np.arange(100) % 2 == 0
    better = base | (np.arange(100) % 10 == 1)
    row = pairwise_differences(frame(better=better, base=base)).iloc[0]
    assert row.difference == pytest.approx(0.1) and row.low > 0.03 and row.p < 0.01


def test_pairs_keep_their_level_under_the_null():
    rng, false = np.random.default_rng(1), 0
    for _ in range(120):
        found = pairwise_differences(frame(a=rng.random(60) < 0.6, b=rng.random(60) < 0.6))
        false += int(found.p[0] < 0.05)
    assert false / 120 < 0.12


def test_wins_count_both_ways():
    found = pd.DataFrame(
        {
            "budget": [48, 48, 48],
            "first": ["a", "a", "b"],
            "second": ["b", "c", "c"],
            "difference": [0.2, 0.1, -0.3],
            "q": [0.01, 0.2, 0.04],
        }
    )
    table = win_counts(found).set_index("method")
    assert table.beats.to_dict() == {"a": 1, "b": 0, "c": 1} and table.beaten.to_dict() == {"a": 0, "b": 2, "c": 0}
    assert table.index[-1] == "b" and table.net.tolist() == [1, 1, -2]


def test_pairs_refuse_questions_that_some_were_not_asked():
    table = frame(a=[1, 0, 1], b=[1, 1, 0])
    with pytest.raises(ValueError, match="the same questions.*budget 48"):
        pairwise_differences(table.drop(index=4))
    with pytest.raises(ValueError, match="two values of 'method' at a budget; got a"):
        pairwise_differences(frame(a=[1, 0]))


def sets(**kept):
    rows = [(name, q, t) for name, rows in kept.items() for q, tokens in enumerate(rows) for t in tokens]
    return pd.DataFrame(rows, columns=["method", "question", "token"])


def test_overlap_by_hand():
    found = kept_overlap(sets(a=[[0, 1], [0, 1]], b=[[0, 1, 2, 3], [0, 3]], c=[[2, 3], [2, 3]]), 8).set_index(
        ["first", "second"]
    )
    assert found.loc[("a", "a"), "mean"] == 1 and found.loc[("a", "c"), "mean"] == pytest.approx(-1 / 3)
    # (1 - 1/2) / (1 - 1/2) and (1/2 - 1/4) / (1 - 1/4)
    assert found.loc[("a", "b"), "mean"] == pytest.approx((1 + 1 / 3) / 2)
    assert found.loc[("b", "a"), "mean"] == found.loc[("a", "b"), "mean"]


@given(st.integers(1, 11), st.integers(1, 11), st.integers(0, 99))
def test_random_sets_overlap_as_chance_has_it(a, b, seed):
    rng = np.random.default_rng(seed)
    draws = {name: [rng.permutation(12)[:k] for _ in range(60)] for name, k in (("a", a), ("b", b))}
    row = kept_overlap(sets(**draws), 12).set_index(["first", "second"]).loc[("a", "b")]
    small, large = min(a, b), max(a, b)
    spread = (large / 12 * (1 - large / 12) / small * (12 - small) / 11) ** 0.5 / (1 - large / 12)
    assert abs(row["mean"]) < 4.5 * spread / 60**0.5 + 1e-9


def test_whole_sets_say_nothing():
    row = kept_overlap(sets(a=[[0, 1]], b=[[0]]), 2).set_index(["first", "second"]).loc[("a", "b")]
    assert row.n == 0 and np.isnan(row["mean"])


def test_retained_is_what_the_trace_kept(embedded):
    asked, method = sample(3), Random(Schedule({1: 40, 6: 10}))
    found = kept_at_end(embedded, asked, {"random": method}, batch_size=2)
    assert found.groupby("question").token.nunique().tolist() == [10] * 3 and found.token.between(0, 143).all()
    inputs = embedded.inputs([asked[2][0].image], [asked[2][1].text])
    with with_question_seeds(method, asked[2:])(embedded.model) as trace:
        embedded.model(**inputs)
    first = embedded.vision_positions(inputs)[0][0]
    assert found[found.question == 2].token.tolist() == [p - first for p in trace.kept[6][0].tolist()]


def test_relative_time_has_a_ratio_for_every_round(embedded):
    found = relative_time(embedded, sample(2), methods_at_average(48, 144, 12, NAMES), repeats=2)
    assert len(found) == 6 and (found.ratio > 0).all() and found.groupby("method").size().eq(2).all()
