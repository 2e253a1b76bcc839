"""Schedules: hand-worked counts, the rounding rule, the solver, the presets, and what is refused."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2drop import METHODS, DyCoke, MustDrop, Random, Schedule, V2Drop
from v2drop.budgets.counting import share_of
from v2drop.budgets.presets import PRESETS
from v2drop.contract.toys import batch, toy


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
    with pytest.raises(ValueError, match="average must be a finite number; got '192'"):
        Schedule.for_average("192", (3,), 576, 32)
    with pytest.raises(ValueError, match="layers must be a list of different ints of 0 or more; got '3'"):
        Schedule.for_average(192, "3", 576, 32)


def test_presets_say_their_true_average():
    """Figures of shared/methods.md, section 2: 3 x 576, 14 x 288, 5 x 144, 10 x 1 is 202.8 a layer."""
    code = Schedule.preset("llava-1.5-7b", 192)
    assert code.counts(576, 32) == [576] * 3 + [288] * 14 + [144] * 5 + [1] * 10
    assert "202.8" in code.label
    assert all("true layer average" in Schedule.preset(*name).label for name in PRESETS)


@pytest.mark.parametrize(
    ("name", "dropped", "left", "average", "other"),
    [
        (192, (0.5, 0.7, 1), [288, 86, 0], 193.4, 206.9),
        (128, (0.72, 0.75, 1), [161, 40, 0], 130.7, 146.9),
        (64, (0.95, 0.95, 1), [28, 1, 0], 66.4, 70.6),
    ],
)
def test_the_papers_settings_are_read_as_fits_their_names_and_the_label_says_so(name, dropped, left, average, other):
    paper, n, counts = Schedule.preset("llava-1.5-7b-paper", name), 576, []
    for share in dropped:  # of the tokens still there
        n = int(n * (1 - share) + 1e-9)
        counts.append(n)
    assert list(paper.after(576).values()) == counts == left
    of_all = [int(576 * (1 - share) + 1e-9) for share in dropped]
    read_otherwise = (3 * 576 + 14 * of_all[0] + 5 * of_all[1] + 10 * of_all[2]) / 32
    assert round(paper.average(576, 32), 1) == average and round(read_otherwise, 1) == other
    assert abs(average - name) < abs(other - name)
    assert f"average {average} of" in paper.label and "(inferred)" in paper.label
    assert f"{other} if the shares are of all tokens" in paper.label


def test_few_tokens_are_left_what_the_released_codes_leave():
    """max(1, int(...)) at each stage: a picture of 224 x 224 pixels has 64 tokens in Qwen2-VL."""
    qwen, llava = Schedule.preset("qwen2-vl-7b", 256), V2Drop.released_schedule
    assert list(qwen.after(64).values()) == [16, 1, 1] and list(qwen.after(0).values()) == [0, 0, 0]
    for n in range(1, 2000):
        first = max(1, int(n * 0.25))
        assert list(qwen.after(n).values()) == [first, max(1, int(first * 0.05)), 1], n
        assert list(llava.after(n).values()) == [max(1, int(n * 0.5)), max(1, int(n * 0.25)), 1], n
    for n in (1024, 1000, 333):
        assert qwen.average(n, 28) / n == pytest.approx(0.226, abs=0.005)


def test_a_share_leaves_at_least_as_many_as_are_asked_for():
    schedule = Schedule({3: 0.1, 5: 0.01, 7: 2}, least=2)
    assert [list(schedule.after(n).values()) for n in (0, 1, 2, 5, 40, 400)] == [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 2],
        [2, 2, 2],
        [4, 2, 2],
        [40, 4, 2],
    ]
    assert Schedule({3: 1}, least=2).after(9) == {3: 1}  # a count is a count
    for same in (eval(repr(schedule)), pickle.loads(pickle.dumps(schedule))):
        assert same == schedule and hash(same) == hash(schedule)
    assert schedule != Schedule({3: 0.1, 5: 0.01, 7: 2})
    with pytest.raises(ValueError, match="least must be an int of 0 or more; got 0.5"):
        Schedule({3: 0.5}, least=0.5)
    with pytest.raises(ValueError, match="only 0 are left by then; .*give Schedule.*least=1"):
        Schedule({3: 0.5, 22: 1}).after(1)


def test_the_default_method_keeps_the_last_token_of_few(monkeypatch):
    data = batch("llama", ["tvtt", "tvvtt", "tvvvvvvvvtt"])
    with V2Drop.default(toy("llama"))(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs)
    assert [trace.vision_tokens[-1][row] for row in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Schedule({3: 1}).average(144.7, 12), "n_tokens must be an int of 0 or more; got 144.7"),
        (lambda: Schedule({3: 1}).counts(True, 12), "n_tokens must be an int of 0 or more; got True"),
        (lambda: Schedule({3: 1}).counts(12, 12.0), "n_layers must be an int of 1 or more; got 12.0"),
        (lambda: Schedule.for_average(math.nan, (3,), 576, 32), "average must be a finite number; got nan"),
        (lambda: Schedule.for_average(192, (3.5,), 576, 32), "each of layers must be an int of 0 or more; got 3.5"),
        (lambda: Schedule.for_final(3, (3,), 576.5, 32), "n_tokens must be an int of 0 or more; got 576.5"),
        (lambda: V2Drop.drop_layers(12.5), "n_layers must be an int of 1 or more; got 12.5"),
        (lambda: Random(Schedule({3: 1}), seed=-1), "seed must be an int from 0 to"),
        (lambda: Random(Schedule({3: 1}), seed=1.0), "seed must be an int from 0 to .*; got 1.0"),
        (lambda: DyCoke(Schedule({0: 1.0}), pruned_share=math.nan), "pruned_share must be a finite number from 0 to 1"),
        (lambda: DyCoke(Schedule({0: 1.0}), hide_from_layer=True), "hide_from_layer must be an int of 1 or more"),
        (
            lambda: MustDrop(Schedule({3: 1.0}), thresholds=(0.1, math.nan)),
            "each of thresholds must be a finite number",
        ),
        (lambda: METHODS["x"], "there is no method 'x'; there are: 'v2drop', 'fastv'"),
    ],
)
def test_arguments_are_not_turned_into_others(call, message, without_type_checker):
    with pytest.raises(ValueError, match=message):
        call()


def test_numbers_of_numpy_are_taken_as_what_they_are(without_type_checker):
    schedule = Schedule({np.int64(3): np.int32(9), np.int64(5): np.int8(4)})
    assert schedule == Schedule({3: 9, 5: 4}) and repr(schedule) == "Schedule({3: 9, 5: 4})"
    assert repr(Schedule({1: np.float64(0.5)})) == "Schedule({1: 0.5})"
    data = batch("llama", ["tvvvvvvvvtt"])
    kept = []
    for seed in (3, np.int64(3)):
        with Random(Schedule({1: 4}), seed=seed)(toy("llama"), **data.options) as trace:
            toy("llama")(**data.inputs)
        kept.append(trace.kept[1].tolist())
        with pytest.raises(KeyError, match="there is no drop layer 5; there are: 1."):
            trace.kept[5]
    assert kept[0] == kept[1]


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
    with pytest.raises(ValueError, match="n_tokens must be an int of 0 or more; got -1"):
        Schedule({4: 1}).after(-1)
    with pytest.raises(ValueError, match="layer 5 would keep 300 .*only 57"):
        Schedule({3: 0.1, 5: 300}).after(576)
    with pytest.raises(ValueError, match="n_layers must be an int of 1 or more; got 0"):
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
