"""FastV against its formula: attention of the last token, dense and in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.slow_decoder import compare
from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy
from v2drop.scoring.attention import QueriesAndKeys, at_columns

FastV = METHODS["fastv"]
ROWS = ["ttvvvvvvvvvvvvtt", "vvvvvvvvt", "tvvvvvttvvvvvvttt"]


def reference(seen):
    heads, last = len(seen.weights), len(seen.x) - 1
    score = [sum(seen.weights[h, last, c] for h in range(heads)) / heads for c in seen.vision]
    return seen.best(score)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@settings(max_examples=15)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 99), left=st.sampled_from([{1: 5}, {2: 0.5}, {1: 0.7, 3: 2}]))
def test_is_the_reference(family, operator, row, seed, left):
    compare(toy(family, operator), FastV(Schedule(left)), batch(family, [row], seed=seed), reference, "keep")


def test_by_hand():
    """One head of two dimensions, no rotation: keys 0 and log 2 and log 5 along the query weigh 1 : 2 : 5."""
    keys = torch.tensor([1.0, 2.0, 5.0, 1.0]).log()
    states = torch.stack([keys, torch.zeros(4)], 1)[None, :, None]
    ones = torch.tensor([[[1.0, 0.0]]]).expand(1, 4, 1, 2)
    projected = QueriesAndKeys(ones, states, (torch.ones(1, 4, 2), torch.zeros(1, 4, 2)), scaling=1.0)
    weights = projected.weights(torch.tensor([[3]]), torch.tensor([[True, True, False, True]]))
    torch.testing.assert_close(weights[0, 0, 0], torch.tensor([0.25, 0.5, 0.0, 0.25]))
    torch.testing.assert_close(at_columns(weights, torch.tensor([[1, 0]]))[0, 0, 0], torch.tensor([0.5, 0.25]))


@pytest.mark.parametrize(("side", "row"), [("right", slice(0, 10)), ("left", slice(3, 13))])
def test_padding_is_not_attended_to(side, row):
    data = batch("llama", ["tvvvvvvvvtttt", "vvvvvvvvtt"], side)
    with FastV(Schedule({2: 3}))(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs, position_ids=data.positions)
    with FastV(Schedule({2: 3}))(toy("llama"), vision_mask=data.vision[1:, row]) as own:
        toy("llama")(**{key: value[1:, row] for key, value in data.inputs.items()})
    assert torch.equal(trace.kept[2][1], own.kept[2][0] + row.start)
    torch.testing.assert_close(trace.scores[2][1], own.scores[2][0])
