"""Equivalence within a margin, and what could have been found."""

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.equivalence import equivalence
from analysis.comparison.pairs import paired_difference


def frame(better, worse, n, method="a"):
    first = np.repeat([True, False, True], [better, worse, n - better - worse])
    second = np.repeat([False, True, True], [better, worse, n - better - worse])
    rows = [(m, 8, q, bool(r)) for m, rs in ((method, first), ("base", second)) for q, r in enumerate(rs)]
    return pd.DataFrame(rows, columns=["method", "budget", "question", "right"])


def test_no_finding_is_no_equivalence():
    """The same null result is equivalence within five points at 400 questions, and says little at 40."""
    many, few = (equivalence(frame(k, k, n), "base", ["budget"], 0.05).iloc[0] for k, n in ((8, 400), (1, 40)))
    assert many.equivalent and not few.equivalent and many.n == 400 and many.margin == 0.05
    assert many.detectable < 0.05 < few.detectable
    assert not equivalence(frame(8, 8, 400), "base", ["budget"], 0.01).equivalent.item()


def test_the_interval_is_narrower_than_that_of_95_percent_about_the_same_mean():
    given = frame(20, 5, 200)
    both = equivalence(given, "base", ["budget"], 0.2).iloc[0]
    wide = paired_difference(given, "base", ["budget"]).iloc[0]
    assert wide.low < both.low_90 < both["mean"] == wide["mean"] < both.high_90 < wide.high
    middle = both.low_90 + both.high_90
    assert middle == pytest.approx(wide.low + wide.high)
    assert (both.high_90 - both.low_90) / (wide.high - wide.low) == pytest.approx(1.644854 / 1.959964)


def test_methods_a_margin_apart_are_called_equivalent_in_5_percent():
    """300 times: the true difference is the margin (binomial, 4 sd)."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(300):
        better, worse, _ = rng.multinomial(200, [0.1, 0.05, 0.85])
        found = equivalence(frame(better, worse, 200), "base", [], 0.05)
        wrong += int(found.equivalent.item())
    assert wrong / 300 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


def test_numbers_that_all_differ_by_the_same_say_nothing():
    given = frame(0, 0, 9).assign(value=lambda t: t.question + 0.5 * (t.method == "a"))
    row = equivalence(given, "base", ["budget"], 1, "value").iloc[0]
    assert row["mean"] == 0.5 and np.isnan([row.low_90, row.high_90, row.detectable]).all() and not row.equivalent


@pytest.mark.parametrize("margin", [0, -0.1, 0.0])
def test_a_margin_is_above_0(margin):
    with pytest.raises(ValueError, match="margin must be above 0, .*; got"):
        equivalence(frame(1, 1, 9), "base", ["budget"], margin)
