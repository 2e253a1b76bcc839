"""What is peculiar to one method, by hand and by identity."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2drop import Random, Schedule, Uniform, V2Drop
from v2drop.contract.toys import batch, toy
from v2drop.engine.contract import Candidates
from v2drop.scoring.selection import top_mask
from v2drop.scoring.variation import METRICS


def candidates(n, left, layer=2):
    hidden = torch.zeros(1, n, 2)
    return Candidates(
        layer, hidden, hidden, torch.arange(n)[None], torch.ones(1, n, dtype=torch.bool), [n], [n], [left]
    )


def kept(method, seen):
    return top_mask(method.score(seen), seen.valid, seen.n_keep)[0].nonzero().flatten().tolist()


def test_random_draws_anew_for_each_layer_and_each_seed():
    schedule = Schedule({2: 0.5, 3: 0.25})
    scores = [Random(schedule, s).score(candidates(20, 5, layer)) for s, layer in ((0, 2), (0, 3), (1, 2), (2, 2))]
    assert all(not torch.equal(a, b) for i, a in enumerate(scores) for b in scores[:i])
    assert all(((0 <= s) & (s < 1)).all() for s in scores)


def test_random_draws_for_a_token_not_for_its_place_among_the_survivors():
    data, model, found = batch("llama", ["tvvvvvvvvvvt"]), toy("llama"), []
    for schedule in (Schedule({1: 4, 3: 2}), Schedule({3: 2})):
        with Random(schedule)(model, **data.options) as trace:
            model(**data.inputs)
        found.append(dict(zip(trace.candidates[3][0].tolist(), trace.scores[3][0].tolist(), strict=True)))
    assert len(found[0]) == 4 and found[0].items() <= found[1].items()


def test_random_keeps_every_token_equally_often():
    counts = torch.zeros(12)
    for seed in range(600):
        counts[kept(Random(Schedule({2: 3}), seed), candidates(12, 3))] += 1
    assert counts.sum() == 1800 and (counts - 150).abs().max() < 4 * (600 * 0.25 * 0.75) ** 0.5


def test_random_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Random(Schedule({2: 3})).score(candidates(12, 3))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("n", "left", "expected"),
    [(12, 3, [2, 6, 10]), (12, 12, list(range(12))), (5, 2, [1, 3]), (7, 1, [3]), (4, 0, []), (1, 1, [0])],
)
def test_uniform_by_hand(n, left, expected):
    assert kept(Uniform(Schedule({2: left})), candidates(n, left)) == expected


@given(st.integers(1, 400), st.data())
def test_uniform_is_the_formula(n, data):
    left = data.draw(st.integers(0, n))
    expected = [(2 * i + 1) * n // (2 * left) for i in range(left)]
    assert kept(Uniform(Schedule({2: left})), candidates(n, left)) == expected


@pytest.mark.parametrize("metric", METRICS)
def test_v2drop_scores_with_its_metric(metric):
    seen = candidates(6, 2)
    before, after = torch.randn(2, 1, 6, 4).unbind()
    seen = Candidates(2, after, before, seen.vision_index, seen.valid, [6], [6], [2])
    assert torch.equal(V2Drop(Schedule({2: 2}), metric).score(seen), METRICS[metric](before, after))


def test_ties_go_to_the_earlier_token_and_padding_never_stays():
    score = torch.tensor([[1.0, 2.0, 2.0, 2.0], [0.0, -1.0, 9.0, 9.0]])
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    assert top_mask(score, real, [2, 2]).tolist() == [[False, True, True, False], [True, True, False, False]]
