"""DART against its formula, its counts and its pivots."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.float64_models import rms
from tests.support.slow_decoder import compare
from v2drop import METHODS, Schedule
from v2drop.contract.toys import FAMILIES, WIDTH, batch, toy
from v2drop.methods.in_llm.dart import _take_turns

DART = METHODS["dart"]
ROWS = ["ttvvvvvvvvvvvvvvvvtttttt", "vvvvvvvvt", "tvvvvvvvvvttvvvvvvttt", "t" + "v" * 40 + "ttttttt"]
SCHEDULES = [{1: 5}, {1: 0.9, 3: 0.6}, {2: 0.5}, {1: 0.7, 3: 2}, {1: 6, 2: 3, 3: 1}, {2: 7, 4: 0}]


def dissimilarity(seen, a, b):
    one, other = (rms(seen.x[c], seen.model.model.norm) for c in (a, b))
    return -float(one @ other) / float(one @ one) ** 0.5 / float(other @ other) ** 0.5


def reference(seen, pivots=None):
    size = [sum(abs(float(x)) for x in key.flatten()) for key in seen.keys]
    if pivots is None:
        pivots = sorted(seen.vision, key=lambda c: (-size[c], c))[:4]
        pivots += sorted(seen.text_after, key=lambda c: (-size[c], c))[:4]
    image = [p for p in pivots if p in seen.vision]
    pivots = [p for p in pivots if p not in image[seen.left :]]
    taken = image[: seen.left]
    rest = seen.left - len(taken)
    for turn, pivot in enumerate(pivots):
        quota = rest // len(pivots) + (turn < rest % len(pivots))
        pool = [c for c in seen.vision if c not in taken]
        taken += sorted(pool, key=lambda c, p=pivot: (-dissimilarity(seen, p, c), c))[:quota]
    return seen.best([-taken.index(c) if c in taken else -seen.left for c in seen.vision])


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@settings(max_examples=30)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 99), left=st.sampled_from(SCHEDULES))
def test_is_the_reference(family, row, seed, left):
    compare(toy(family), DART(Schedule(left)), batch(family, [row], seed=seed), reference, "keep")


def test_states_are_compared_behind_the_final_norm():
    """Its weights matter; those of a fresh model are all one."""
    torch.manual_seed(0)
    model = FAMILIES["llama"]().eval().requires_grad_(False)
    model.model.norm.weight.copy_(torch.rand(WIDTH).mul(4).exp())
    for seed in range(8):
        compare(model, DART(Schedule({2: 8})), batch("llama", ROWS[:1], seed=seed), reference, "keep")


@pytest.mark.parametrize("pivots", [(5,), (20, 4, 19, 9, 7), (23, 18), tuple(range(17, 1, -1))])
@pytest.mark.parametrize("left", [{2: 0.5}, {1: 3}])
def test_is_the_reference_with_the_pivots_in_their_given_order(pivots, left):
    for seed in range(5):
        data = batch("llama", ROWS[:1], seed=seed)
        method = DART(Schedule(left), pivots=pivots)
        compare(toy("llama"), method, data, lambda seen: reference(seen, list(pivots)), "keep")


def test_the_order_of_pivots_matters_and_by_default_is_that_of_the_norms():
    """So the released code's sets, whose order changes from run to run of Python, change what is kept."""
    data = batch("llama", ROWS[:1], seed=1)
    found = {}

    def watch(seen):
        size = seen.keys.abs().sum((1, 2)).tolist()
        found["pivots"] = (
            sorted(seen.vision, key=lambda c: -size[c])[:4] + sorted(seen.text_after, key=lambda c: -size[c])[:4]
        )
        return reference(seen)

    compare(toy("llama"), DART(Schedule({2: 10})), data, watch, "keep")
    kept = []
    for pivots in (None, found["pivots"], found["pivots"][::-1]):
        with DART(Schedule({2: 10}), pivots=pivots)(toy("llama"), **data.options) as trace:
            toy("llama")(**data.inputs)
        kept.append(trace.kept[2])
    assert torch.equal(kept[0], kept[1]) and not torch.equal(kept[0], kept[2])


def test_the_released_count_is_4_and_8_times_16():
    """132 of 576: the first 4 places are image pivots, and each of the 8 takes 16 in a row."""
    data, model = batch("llama", ["t" * 35 + "v" * 576 + "t" * 24]), toy("llama")
    schedule = Schedule({2: DART.released_schedule.left[2]})
    pivots = (40, 620, 50, 630, 60, 621, 70, 622)
    with DART(schedule, pivots=pivots)(model, **data.options) as trace:
        model(**data.inputs)
    assert schedule.after(576) == {2: 132} and trace.kept[2].shape == (1, 132)
    places = -trace.scores[2][0]
    assert [int(places[p - 35]) for p in (40, 50, 60, 70)] == [0, 1, 2, 3]
    assert sorted(places.int().tolist()) == [*range(132), *[132] * (576 - 132)]

    def takes(pivot, position):
        """What the pivot at this place in the order of turns took."""
        return [35 + int(i) for i in ((places >= 4 + 16 * pivot) & (places < 20 + 16 * pivot)).nonzero().flatten()]

    unit = torch.nn.functional.normalize(model.model.norm(states_at(model, data, 2)), dim=-1)
    free = set(range(35, 611)) - {40, 50, 60, 70}
    for turn, position in enumerate(pivots):
        expected = sorted(free, key=lambda c, p=position: float(unit[p] @ unit[c]))[:16]
        assert takes(turn, position) == sorted(expected)
        free -= set(expected)


def states_at(model, data, layer):
    """What enters a layer of the plain model."""
    return model(**data.inputs, output_hidden_states=True).hidden_states[layer][0]


def test_by_hand():
    """Two pivots along the axes: each takes what points away from it."""
    # Candidates 0 to 4; pivots are candidate 1 and a text token. Three are left: 1 itself, then one for each pivot.
    unlike = torch.tensor([[[0.3, -1.0, 0.9, 0.8, 0.9], [0.1, 0.2, 0.7, 0.0, 0.6]]])
    itself = torch.tensor([[[False, True, False, False, False], [False] * 5]])
    there = torch.tensor([[True, True]])
    for left, expected in [
        (1, [1, 0, 1, 1, 1]),
        (2, [2, 0, 1, 2, 2]),
        (3, [3, 0, 1, 3, 2]),
        (4, [3, 0, 1, 4, 2]),
        (5, [3, 0, 1, 4, 2]),
        (0, [0, 0, 0, 0, 0]),
    ]:
        assert _take_turns(unlike, itself, there, torch.tensor([[left]]))[0].tolist() == expected, left


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_row_with_few_vision_tokens_and_much_text_is_what_it_is_alone(side):
    rows, model, method = (
        ["v" * 30 + "t", "v" * 12 + "t" * 20, "vv" + "t" * 9],
        toy("llama"),
        DART(Schedule({1: 0.6, 3: 0.2})),
    )
    data = batch("llama", rows, side)
    with method(model, **data.options) as trace:
        model(**data.inputs, position_ids=data.positions)
    for row in range(3):
        there = data.present[row]
        with method(model, vision_mask=data.vision[row, there][None]) as own:
            model(input_ids=data.inputs["input_ids"][row, there][None])
        for layer, score in own.scores.items():
            assert torch.equal(trace.scores[layer][row, : score.shape[1]], score[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pivots": ()}, "different positions"),
        ({"pivots": (3, 3)}, r"different positions.*got \(3, 3\)"),
        ({"pivots": (3, -1)}, "different positions"),
        ({"pivots": (3.0,)}, r"different positions.*got \(3.0,\)"),
        ({"pivots": 3}, "different positions.*got 3"),
        ({"pivots": (3,), "schedule": Schedule({1: 4, 2: 2})}, r"schedule of one layer.*got layers \(1, 2\)"),
    ],
)
def test_refuses_wrong_pivots(options, message):
    method = DART(Schedule({2: 4}))
    for name, value in options.items():  # the tests' own type check would refuse some at the constructor
        object.__setattr__(method, name, value)
    with pytest.raises(ValueError, match=message):
        method.__post_init__()


@pytest.mark.parametrize("wrong", [0, 24, 100])
def test_refuses_pivots_that_are_neither_vision_nor_text_behind(wrong):
    data = batch("llama", ROWS[:1])
    with (
        DART(Schedule({2: 4}), pivots=(5, wrong))(toy("llama"), **data.options),
        pytest.raises(ValueError, match=rf"pivots must be positions of vision tokens.*\(0, {wrong}\)"),
    ):
        toy("llama")(**data.inputs)


def test_given_pivots_leave_rows_without_vision_tokens_alone():
    data = batch("llama", ["tvvvvvvvttt", "ttt"])
    with DART(Schedule({2: 4}), pivots=[9, 3])(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs)
    assert 3 in trace.kept[2][0].tolist() and trace.kept[2][1].tolist() == [-1] * 4
