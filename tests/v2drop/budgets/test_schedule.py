"""Schedules: hand-worked counts, the rounding rule, the solver, the presets, and what is refused."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2drop import Schedule
from v2drop.budgets.counting import share_of
from v2drop.budgets.presets import PRESETS


@pytest.mark.parametrize(
    ("share", "n", "left"),
    [
        (0.9, 100, 90),
        (0.9, 2880, 2592),
        (0.7, 10, 7),
        (0.29, 100, 29),
        (1 / 3, 576, 192),
        (0.1, 10, 1),
        (0.999, 10, 9),
    ],
)
def test_shares_are_safe_against_float_error(share, n, left):
    assert Schedule({1: share}).after(n) == {1: left}


@given(st.integers(0, 10**4), st.integers(1, 10**4))
def test_a_share_that_is_a_count_is_that_count(left, n):
    assert share_of(min(left, n) / n, n) == min(left, n)


@given(st.decimals(0, 1, places=3), st.integers(0, 5000))
def test_a_decimal_share_is_rounded_down_exactly(share, n):
    exact = Fraction(share) * n
    assert share_of(float(share), n) == exact.numerator // exact.denominator


def test_counts_and_average_by_hand():
    schedule = Schedule({1: 4, 3: 0.25})
    assert schedule.counts(n_tokens=8, n_layers=5) == [8, 4, 4, 2, 2]
    assert schedule.average(n_tokens=8, n_layers=5) == 4.0
    assert schedule.counts(n_tokens=0, n_layers=4) == [0] * 4


def test_an_int_leaves_at_most_what_is_there():
    assert Schedule({3: 288, 17: 144}).after(200) == {3: 200, 17: 144}


def test_ints_of_numpy_and_any_order_are_taken():
    assert Schedule({np.int64(9): np.int64(1), 3: np.float32(0.5)}).after(8) == {3: 4, 9: 1}


def test_nothing_to_drop_is_a_schedule():
    assert Schedule({}).counts(n_tokens=3, n_layers=2) == [3, 3]


@given(st.data())
def test_for_average_solves_to_within_one_token(data):
    n_layers = data.draw(st.integers(1, 48))
    layers = tuple(data.draw(st.sets(st.integers(0, n_layers - 1), min_size=1, max_size=5)))
    n_tokens = data.draw(st.integers(0, 3000))
    least = Schedule(dict.fromkeys(layers, 0)).average(n_tokens, n_layers)
    average = data.draw(st.floats(least, max(least, n_tokens)))
    schedule = Schedule.for_average(average, layers, n_tokens, n_layers)
    assert schedule.layers == tuple(sorted(layers))
    assert abs(schedule.average(n_tokens, n_layers) - average) <= 0.5 + 1e-9


def test_for_average_refuses_what_cannot_be_reached():
    with pytest.raises(ValueError, match=r"average of 32 cannot .*allowed: 54 \(nothing left after layer 3\) to 576"):
        Schedule.for_average(32, layers=(3, 17), n_tokens=576, n_layers=32)
    with pytest.raises(ValueError, match="average of 600"):
        Schedule.for_average(600, layers=(3,), n_tokens=576, n_layers=32)
    with pytest.raises(ValueError, match="layers must be different ints"):
        Schedule.for_average(100, layers=(3, 3), n_tokens=576, n_layers=32)


def test_for_average_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="average must be a number of tokens; got '192'"):
        Schedule.for_average("192", (3,), 576, 32)
    with pytest.raises(ValueError, match="layers must be different ints, at least one"):
        Schedule.for_average(192, 3, 576, 32)


def test_presets_say_their_true_average():
    """Figures of shared/methods.md, section 2: 3 x 576, 14 x 288, 5 x 144, 10 x 1 is 202.8 a layer."""
    code = Schedule.preset("llava-1.5-7b", 192)
    assert code.counts(576, 32) == [576] * 3 + [288] * 14 + [144] * 5 + [1] * 10
    assert "202.8" in code.label
    paper = Schedule.preset("llava-1.5-7b-paper", 192)
    assert [paper.after(576)[layer] for layer in (3, 17, 22)] == [288, 172, 0]  # drops 50 %, 70 %, 100 %
    qwen = Schedule.preset("qwen2-vl-7b", 256)
    for n in (1024, 1000, 333):
        assert list(qwen.after(n).values()) == [
            int(n * 0.25),
            int(int(n * 0.25) * 0.05),
            1,
        ]  # as its code counts
        assert qwen.average(n, 28) / n == pytest.approx(0.226, abs=0.005)
    assert all("true layer average" in Schedule.preset(*name).label for name in PRESETS)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'llava-1.5-7b' at 64 .*allowed: 'llava-1.5-7b' at 192.*for_average"):
        Schedule.preset("llava-1.5-7b", 64)


@pytest.mark.parametrize(
    ("left", "message"),
    [
        ({3: 2, 5: 4}, r"may not grow with depth: layer 3 keeps 2 and layer 5 4; allowed at layer 5: 0 to 2"),
        ({3: 0.2, 5: 0.4}, r"layer 3 keeps 0.2 and layer 5 0.4; allowed at layer 5: 0 to 0.2"),
        ({-1: 2}, "a layer must be an int of 0 or more; got -1"),
        ({"3": 2}, "got '3'"),
        ({3.0: 2}, "got 3.0"),
        ({True: 2}, "got True"),
        ({3: -1}, "layer 3 must keep 0 tokens or more; got -1"),
        ({3: 1.5}, r"share in \[0, 1\]; got 1.5"),
        ({3: -0.1}, r"share in \[0, 1\]; got -0.1"),
        ({3: float("nan")}, r"share in \[0, 1\]; got nan"),
        ({3: True}, "so many.*got True"),
        ({3: "half"}, "so many.*got 'half'"),
        ([3, 17], r"must map layers to counts or shares.*got \[3, 17\]"),
    ],
)
def test_wrong_entries_are_refused_with_value_and_range(left, message):
    with pytest.raises(ValueError, match=message):
        Schedule(left)


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="layer 40 is out of range: the model has 32 .*allowed: 0 to 31"):
        Schedule({40: 1}).counts(576, 32)
    with pytest.raises(ValueError, match="n_tokens must be 0 or more; got -1"):
        Schedule({4: 1}).after(-1)
    with pytest.raises(ValueError, match="layer 5 would keep 300 .*only 57"):
        Schedule({3: 0.1, 5: 300}).after(576)
    with pytest.raises(ValueError, match="n_layers must be 1 or more; got 0"):
        Schedule({}).average(10, 0)
    with pytest.raises(ValueError, match=r"layer 5 would keep 8 \(0.5 of 16\), but only 2 .*allowed: 0 to 2"):
        Schedule({3: 2, 5: 0.5}).after(16)


def test_schedules_are_values():
    left = {17: 0.25, 3: 0.5}
    schedule = Schedule(left)
    left[3] = 0.9
    assert schedule == Schedule({3: 0.5, 17: 0.25}) and hash(schedule) == hash(Schedule({3: 0.5, 17: 0.25}))
    assert repr(schedule) == "Schedule({3: 0.5, 17: 0.25})" and pickle.loads(pickle.dumps(schedule)) == schedule
    with pytest.raises(TypeError):
        schedule.left[3] = 1


def test_one_token_is_not_everything():
    assert Schedule({3: 1}) != Schedule({3: 1.0}) and len({Schedule({3: 1}), Schedule({3: 1.0})}) == 2
