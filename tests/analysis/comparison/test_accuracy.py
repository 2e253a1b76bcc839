"""Accuracy: judged replies, intervals with known answers, paired differences, figures that show their table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.comparison.accuracy import accuracy, summarise_accuracy
from analysis.comparison.kept_tokens import kept_on_objects
from analysis.comparison.pairs import paired_difference
from analysis.figures import accuracy_curve, overlay
from analysis.models.loading import EMBEDDED
from analysis.scenes.answers import is_right
from analysis.scenes.questions import sample
from analysis.statistics.studentised import bootstrap_interval
from v2drop import Random, Schedule, V2Drop


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("7", "7", True),
        ("The digit is 7.", "7", True),
        ("17", "7", False),
        ("Top left", "top-left", True),
        ("left top", "top-left", False),
        ("", "no", False),
        ("none", "no", False),
        ("4", "four", True),
        ("seven", "7", True),
        ("five", "four", False),
    ],
)
def test_replies_are_judged_by_whole_words(reply, answer, right):
    assert is_right(reply, answer) is right


def test_a_constant_has_no_interval_and_nan_is_refused():
    assert np.isnan(bootstrap_interval(np.ones(5))).all() and np.isnan(bootstrap_interval(np.full(9, 0.1) * 3)).all()
    for wrong, said in (
        ([], "values must be numbers, at least one"),
        ([1.0, np.nan], "finite numbers; got nan in 1 of 2"),
    ):
        with pytest.raises(ValueError, match=said):
            bootstrap_interval(np.array(wrong))


def frame(right):
    return pd.DataFrame(
        [(m, b, q, bool(r)) for (m, b), rs in right.items() for q, r in enumerate(rs)],
        columns=["method", "budget", "question", "right"],
    )


def test_summary_by_hand():
    table = summarise_accuracy(frame({("a", 8): [1, 1, 0, 0], ("b", 8): [1, 1, 1, 1]}), ["method", "budget"]).set_index(
        "method"
    )
    assert table["mean"].to_dict() == {"a": 0.5, "b": 1.0} and table.n.to_dict() == {"a": 4, "b": 4}
    assert (
        table.low["a"] < 0.5 < table.high["a"]
        and table.low["b"] == pytest.approx(0.025 ** (1 / 4))
        and table.high["b"] == 1
    )


def test_paired_differences_are_sharper_than_two_intervals():
    rng = np.random.default_rng(0)
    base = rng.random(400) < 0.5
    better = base | (rng.random(400) < 0.1)  # right wherever the baseline is, and a little oftener
    table = paired_difference(frame({("base", 8): base, ("better", 8): better}), "base", ["budget"])
    assert list(table.method) == ["better"] and table["mean"].item() == pytest.approx((better & ~base).mean())
    assert 0 < table.low.item() < table["mean"].item() < table.high.item() < 0.1
    with pytest.raises(ValueError, match="baseline must be one of base, better; got 'none'"):
        paired_difference(frame({("base", 8): base, ("better", 8): better}), "none", ["budget"])


def test_accuracy_asks_every_question_under_every_method():
    loaded, asked = load(EMBEDDED), sample(7)
    schedule = Schedule({1: 0.5})
    methods = {"plain": None, "v2drop": V2Drop(schedule), "all gone": Random(Schedule({0: 0}))}
    table = accuracy(loaded, asked, methods, batch_size=3)
    assert table.groupby("method", sort=False).size().to_dict() == dict.fromkeys(methods, 7)
    assert table.groupby("method").average_tokens.first().to_dict() == {"plain": 144, "v2drop": 78, "all gone": 0}
    for name, method in methods.items():
        if name != "all gone":
            alone = accuracy(loaded, asked, {name: method}, batch_size=1)
            assert alone.reply.tolist() == table[table.method == name].reply.tolist()
    assert (table.right == [is_right(r, a) for r, a in zip(table.reply, table.answer, strict=True)]).all()


def test_the_curve_shows_the_table():
    table = summarise_accuracy(
        frame({("a", 8): [1, 0], ("a", 16): [1, 1], ("b", 8): [0, 0], ("b", 16): [1, 0]}), ["method", "budget"]
    )
    ax = accuracy_curve(table)
    assert [bars.get_label() for bars in ax.containers] == ["a", "b"]
    assert [bars.lines[0].get_ydata().tolist() for bars in ax.containers] == [[0.5, 1.0], [0.0, 0.5]]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["8", "16"]
    plt.close("all")


def test_the_overlay_darkens_what_is_dropped():
    ax = overlay(np.full((8, 8, 3), 255, np.uint8), [0, 3], 4, plt.subplots()[1], relevant=[3])
    shade = ax.images[1].get_alpha()
    assert (shade == 0).tolist() == [[True, False], [False, True]] and len(ax.patches) == 1
    with pytest.raises(ValueError, match="square number.*got 5"):
        overlay(np.zeros((8, 8, 3), np.uint8), [], 5, ax)
    plt.close("all")


def test_kept_on_objects_counts_patches_on_digits_and_beside_them():
    loaded, asked = load(EMBEDDED), sample(3)
    everything, nothing = Schedule({1: 1.0}), Schedule({1: 0})
    table = kept_on_objects(loaded, asked, {"all": V2Drop(everything), "none": V2Drop(nothing)}, layer=1)
    assert table.groupby("method", sort=False)[["on_digits", "beside"]].mean().to_numpy().tolist() == [[1, 1], [0, 0]]
    half = kept_on_objects(loaded, asked, {"half": Random(Schedule({1: 72}))}, layer=1)
    n_objects = np.array([len(q.objects) for _, q in asked])
    kept = half.on_digits * n_objects + half.beside * (144 - n_objects)
    assert np.allclose(kept, 72)
