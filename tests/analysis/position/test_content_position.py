"""Content, position and rest: planted parts recovered, against least squares with a dummy for every effect."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.position.content_or_position import content_position_shares


def complete(side=4, step=1):
    """Every content at every position of its class (all, if step is 1), as cyclic shifts visit them."""
    places = [divmod(i, side) for i in range(side**2)]
    rows = [
        (content, position)
        for content, (r, c) in enumerate(places)
        for position, (row, column) in enumerate(places)
        if (row - r) % step == (column - c) % step == 0
    ]
    return pd.DataFrame(rows, columns=["content", "position"])


def standard(values):
    return (values - values.mean()) / values.std()


def least_squares(table, step):
    """Sums of squares that dummies of content and of position explain beyond those of the class."""
    side, score = round(table.position.nunique() ** 0.5), table.score.to_numpy()
    classes = (table.position // side % step) * step + table.position % side % step

    def left(*effects):
        dummies = np.hstack([pd.get_dummies(effect).to_numpy(dtype=float) for effect in effects])
        return np.square(score - dummies @ np.linalg.lstsq(dummies, score, rcond=None)[0]).sum()

    total, rest = left(classes), left(classes, table.content, table.position)
    content, position = (total - left(classes, effect) for effect in (table.content, table.position))
    return {"content": content / total, "position": position / total, "rest": rest / total}


@pytest.mark.parametrize(("side", "step"), [(2, 1), (3, 1), (4, 2), (6, 3), (6, 2)])
def test_shares_are_those_of_least_squares_and_add_up(side, step):
    rng = np.random.default_rng(0)
    table = complete(side, step)
    position = rng.normal(size=side**2)[table.position]
    table["score"] = rng.normal(size=len(table)) + position + np.sqrt(table.content) + 3 * (table.content % 2)
    found = content_position_shares(table, "score", step)
    assert found == pytest.approx(least_squares(table, step)) and sum(found.values()) == pytest.approx(1)
    assert list(found) == ["content", "position", "rest"] and min(found.values()) > 0.01


@given(st.lists(st.integers(-3, 3), min_size=9, max_size=9).filter(lambda x: len(set(x)) > 1))
def test_shares_are_those_of_double_loops(values):
    n, score = 3, np.array(values).reshape(3, 3)
    table = pd.DataFrame([(c, p, float(score[c, p])) for c in range(n) for p in range(n)])
    mean = sum(values) / 9
    total = sum((x - mean) ** 2 for x in values)
    content = sum(n * (sum(score[c, p] for p in range(n)) / n - mean) ** 2 for c in range(n))
    position = sum(n * (sum(score[c, p] for c in range(n)) / n - mean) ** 2 for p in range(n))
    found = content_position_shares(table.set_axis(["content", "position", "score"], axis=1), "score")
    expected = {"content": content / total, "position": position / total, "rest": 1 - (content + position) / total}
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("step", [1, 2])
def test_pure_parts_are_1(step):
    table = complete(4, step)
    rng = np.random.default_rng(0)
    for part in ("content", "position"):
        table["score"] = rng.normal(size=16)[table[part]]
        expected = {"content": 0.0, "position": 0.0, "rest": 0.0} | {part: 1.0}
        assert content_position_shares(table, "score", step) == pytest.approx(expected, abs=1e-12)
    crossed = complete(2).assign(score=[1.0, -1, 0, 0, -1, 1, 0, 0, 0, 0, 1, -1, 0, 0, -1, 1])  # all means are 0
    assert content_position_shares(crossed, "score") == pytest.approx({"content": 0, "position": 0, "rest": 1})


@pytest.mark.parametrize(("side", "step"), [(4, 1), (6, 2)])
def test_unrelated_scores_have_the_shares_of_chance(side, step):
    """Of n contents of a class at n positions, n - 1 of n^2 - 1 degrees of freedom each: 1 / (n + 1)."""
    rng, table, n = np.random.default_rng(0), complete(side, step), (side // step) ** 2
    noise = rng.normal(size=(150, len(table)))
    found = pd.DataFrame([content_position_shares(table.assign(score=score), "score", step) for score in noise])
    error = 4 * found.std() / np.sqrt(150)
    for part, chance in (("content", 1 / (n + 1)), ("position", 1 / (n + 1)), ("rest", (n - 1) / (n + 1))):
        assert found[part].mean() == pytest.approx(chance, abs=error[part])


@pytest.mark.parametrize("step", [1, 2])
def test_a_planted_mix_is_recovered(step):
    """5 content, 3 position and 2 noise, each of variance 1 within the classes; chance adds a little to the first."""
    side = 12 if step == 2 else 8
    table, rng = complete(side, step), np.random.default_rng(0)
    n = (side // step) ** 2
    parts = np.array([5, 3, 2]) / 10
    content, position = rng.normal(size=(2, side**2))
    classes = (np.arange(side**2) // side % step) * step + np.arange(side**2) % side % step
    content, position = (pd.Series(x).groupby(classes).transform(standard) for x in (content, position))
    noise = standard(rng.normal(size=len(table)))
    effects = np.stack([content[table.content], position[table.position], noise])
    found = content_position_shares(table.assign(score=np.sqrt(parts) @ effects), "score", step)
    assert list(found.values()) == pytest.approx(parts, abs=0.02 + 1 / n)


def test_what_classes_differ_in_is_left_out_above_step_1():
    table = complete(4, 2)
    rng = np.random.default_rng(0)
    classes = table.position // 4 % 2 * 2 + table.position % 2
    table["score"] = rng.normal(size=len(table))
    lifted = table.assign(score=table.score + 100 * classes)
    assert content_position_shares(lifted, "score", 2) == pytest.approx(content_position_shares(table, "score", 2))


def test_scale_offset_and_order_of_rows_change_nothing():
    table = complete(3).assign(score=np.random.default_rng(0).normal(size=81))
    expected = content_position_shares(table, "score")
    other = table.assign(score=5 - 7 * table.score).sample(frac=1, random_state=0)
    assert content_position_shares(other, "score") == pytest.approx(expected)


def test_incomplete_tables_and_nan_are_refused():
    table = complete(3).assign(score=np.random.default_rng(0).normal(size=81))
    wrong = [table.iloc[1:], pd.concat([table, table.iloc[:1]]), pd.concat([table.iloc[1:], table.iloc[1:2]])]
    for rows in [*wrong, table[table.position != 4].iloc[1:], pd.concat([table, table])]:
        with pytest.raises(ValueError, match="every content must visit . positions once"):
            content_position_shares(rows, "score")
    with pytest.raises(ValueError):
        content_position_shares(table, "score", 2)  # every content visits all positions, not those of its class
    with pytest.raises(ValueError, match="score of the values must hold finite numbers; got nan in 1 of 81 rows"):
        content_position_shares(table.assign(score=table.score.where(table.index > 0)), "score")


def test_contents_that_leave_their_class_are_refused():
    """As many positions as there should be, but not those that shifts by two tokens lead to."""
    table = complete(4, 2).assign(score=np.random.default_rng(0).normal(size=64))
    astray = table.content // 4 * 4 + np.tile(range(4), 16)
    with pytest.raises(ValueError):
        content_position_shares(table.assign(position=astray), "score", 2)


@pytest.mark.parametrize("constant", [0.0, 0.1, 0.7, 1 / 3])
def test_what_does_not_vary_is_refused(constant):
    with pytest.raises(ValueError, match="score must vary; it is the same for every content and position"):
        content_position_shares(complete(3).assign(score=constant), "score")
