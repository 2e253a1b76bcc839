"""Draws: a number belongs to (seed, layer, vision token), with one seed for all rows or one for each."""

import numpy as np
import pytest
import torch

from v2drop import Random, Schedule, SparseVLM, Stratified
from v2drop.contract.toys import batch, toy

SCHEDULE = Schedule({1: 0.5, 3: 0.25})
ROWS = ["tvvvvvvvvvvt", "tvvvvvvtt", "ttvvvvvvvvvtt"]
SEEDS = (5, 0, 2**31 + 1)
KINDS = pytest.mark.parametrize("kind", [Random, SparseVLM, Stratified])


def run(method, data, model):
    """What each row keeps, by layer, without the padding."""
    with method(model, **data.options) as trace:
        model(**data.inputs, position_ids=data.positions)
    rows = range(len(data.vision))
    return [{layer: [p for p in kept[i].tolist() if p >= 0] for layer, kept in trace.kept.items()} for i in rows]


def alone(data, row):
    """One row of a right-padded batch, without its padding."""
    there = data.present[row]
    inputs = {name: x[row : row + 1, there] for name, x in data.inputs.items()}
    return type(data)(inputs, data.vision[row : row + 1, there], {"vision_mask": data.vision[row : row + 1, there]})


@KINDS
def test_a_row_with_its_seed_is_what_it_is_alone(kind):
    data, model = batch("llama", ROWS, "right"), toy("llama")
    found = run(kind(SCHEDULE, seed=SEEDS), data, model)
    for row, seed in enumerate(SEEDS):
        (expected,) = run(kind(SCHEDULE, seed=seed), alone(data, row), model)
        assert found[row] == expected
    assert run(kind(SCHEDULE, seed=7), data, model) == run(kind(SCHEDULE, seed=(7, 7, 7)), data, model)


def test_rows_with_different_seeds_draw_differently():
    data, model = batch("llama", [ROWS[0]] * 6, "right"), toy("llama")
    assert len({str(row) for row in run(Random(SCHEDULE, seed=tuple(range(6))), data, model)}) > 1
    assert len({str(row) for row in run(Random(SCHEDULE, seed=1), data, model)}) == 1


@KINDS
def test_seeds_are_repeated_with_the_rows_for_beams(kind):
    data, model = batch("llava", ["titttt", "tittt"]), toy("llava")
    with kind(SCHEDULE, seed=(3, 4))(model) as trace:
        model.generate(**data.inputs, num_beams=3, max_new_tokens=2, do_sample=False)
        scores = trace.scores[3]
        model(**data.inputs)
    assert len(scores) == 6
    torch.testing.assert_close(scores, trace.scores[3].repeat_interleave(3, 0), equal_nan=True)


@KINDS
@pytest.mark.parametrize("n_seeds", [1, 2, 5, 8])
def test_another_number_of_seeds_than_rows_is_refused(kind, n_seeds):
    """Two seeds for four different rows are no beams."""
    data, model = batch("llava", ["tit", "titt", "tittt", "titttt"]), toy("llava")
    with kind(SCHEDULE, seed=tuple(range(n_seeds)))(model) as trace:
        with pytest.raises(ValueError, match=rf"one for each row of the prompt, 4 here.*got {n_seeds} seeds"):
            model(**data.inputs)
        assert not trace.kept


def test_seeds_are_counted_at_layer_0_too():
    data, model = batch("llava", ["tit", "titt"]), toy("llava")
    with Random(Schedule({0: 4}), seed=(3,))(model), pytest.raises(ValueError, match="2 here.*got 1 seeds"):
        model(**data.inputs)


@KINDS
@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ("a", "seed must be an int from 0 to .*; got 'a'"),
        (-1, "seed must be an int from 0 to .*; got -1"),
        (1.0, "seed must be an int from 0 to .*; got 1.0"),
        (True, "seed must be an int from 0 to .*; got True"),
        ((1, 2.5), "each seed must be an int from 0 to .*; got 2.5"),
        ((), "seed must be an int, or a tuple with one for each row of the prompt; got none"),
    ],
    ids=repr,
)
def test_what_is_no_seed_is_refused(kind, seed, message):
    method = kind(SCHEDULE)
    object.__setattr__(method, "seed", seed)  # the tests' own type check would refuse some at the constructor
    with pytest.raises(ValueError, match=message):
        method.__post_init__()


def test_numpy_seeds_are_python_ints():
    method = Random(SCHEDULE)
    for given, expected in ((np.int64(3), 3), ([np.int64(3), 4], (3, 4))):
        object.__setattr__(method, "seed", given)
        method.__post_init__()
        assert method.seed == expected and hash(method)


def test_different_seeds_draw_differently():
    """torch takes 32 bits of a seed on a CPU, so that larger seeds would repeat smaller ones; they are refused."""
    data, kept = batch("llama", ["t" + "v" * 40 + "tt"]), {}
    for seed in (0, 1, 2**31, 2**32 - 1):
        with Random(Schedule({1: 10}), seed)(toy("llama"), **data.options) as trace:
            toy("llama")(**data.inputs)
        kept[seed] = tuple(trace.kept[1][0].tolist())
    assert len(set(kept.values())) == len(kept)
    with pytest.raises(ValueError, match="seed must be an int from 0 to 4294967295; got 4294967296"):
        Random(Schedule({1: 10}), 2**32)
