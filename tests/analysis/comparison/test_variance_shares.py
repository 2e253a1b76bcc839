"""Shares of variance by hand, against least squares, and of runs that differ in one thing alone."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.variance_shares import BLOCK, REST, accuracy_variance


def answers(effect, n=40):
    """Answers of two methods at three layers, right in a share of the questions that `effect` gives."""
    rows = [
        (method, layer, question, question % 10 < 10 * effect(method, layer))
        for method, layer, question in product("ab", (1, 2, 3), range(n))
    ]
    return pd.DataFrame(rows, columns=["method", "layers", "question", "right"])


def shares(frame, **options):
    return accuracy_variance(frame, ["method", "layers"], resamples=20, **options).set_index("source").share


def test_the_shares_are_of_all_and_of_every_source():
    found = accuracy_variance(answers(lambda m, layer: 0.3 + 0.1 * layer), ["method", "layers"], resamples=20)
    assert list(found.columns) == ["source", "share", "low", "high", "df"] and found.share.sum() == pytest.approx(1)
    assert list(found.source) == [
        *["method", "layers", BLOCK, "method x layers", f"method x {BLOCK}", f"layers x {BLOCK}", REST]
    ]
    assert list(found.df) == [1, 2, 3, 2, 3, 6, 6] and (found.low <= found.high).all()


def test_runs_that_differ_in_one_thing_alone():
    assert shares(answers(lambda m, layer: 0.2 * layer), n_sets=2)["layers"] > 0.8
    assert shares(answers(lambda m, layer: 0.2 if m == "a" else 0.8), n_sets=2)["method"] > 0.8
    crossed = shares(answers(lambda m, layer: {1: 0.2, 2: 0.5, 3: 0.8}[layer if m == "a" else 4 - layer]), n_sets=2)
    assert crossed["method x layers"] > 0.8 and crossed["method"] == pytest.approx(0)
    alike = shares(answers(lambda m, layer: 0.5))
    assert alike[BLOCK] == pytest.approx(1)


def test_main_effects_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    frame = answers(lambda m, layer: 0.5).assign(right=rng.random(240) < 0.6)
    found = shares(frame, seed=3)
    order = np.random.default_rng(3).permutation(40)
    block = np.empty(40, int)
    for number, each in enumerate(np.array_split(order, 4)):
        block[each] = number
    cells = frame.assign(block=block[frame.question]).groupby(["method", "layers", "block"]).right.mean().reset_index()
    for factor, name in (("method", "method"), ("layers", "layers"), ("block", BLOCK)):
        dummies = pd.get_dummies(cells[factor]).to_numpy(float)
        fitted = dummies @ np.linalg.lstsq(dummies, cells.right, rcond=None)[0]
        total = ((cells.right - cells.right.mean()) ** 2).sum()
        assert found[name] == pytest.approx(((fitted - cells.right.mean()) ** 2).sum() / total)


def test_what_is_not_balanced_is_refused():
    frame = answers(lambda m, layer: 0.5)
    with pytest.raises(ValueError, match="every combination of method, layers must have the same questions.*1 gaps"):
        shares(frame.drop(index=7))
    with pytest.raises(ValueError, match="two values"):
        shares(frame[frame.method == "a"])
    with pytest.raises(ValueError, match="n_sets must leave two questions"):
        shares(frame, n_sets=30)


def test_a_draw_may_tell_runs_apart():
    rows = [(m, d, q, q % 10 < {0: 2, 1: 5, 2: 8}[d]) for m, d, q in product("ab", range(3), range(40))]
    frame = pd.DataFrame(rows, columns=["method", "draw", "question", "right"])
    found = accuracy_variance(frame, ["method", "draw"], n_sets=2, resamples=5).set_index("source").share
    assert found["draw"] > 0.8 and found["method"] == pytest.approx(0)
    with pytest.raises(ValueError, match="two values or more"):
        accuracy_variance(frame[frame.draw == 0], ["method", "draw"], resamples=5)
