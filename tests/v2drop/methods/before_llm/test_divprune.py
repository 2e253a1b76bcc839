"""DivPrune against its formula written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.before_llm_reference import CASES, embedded, expected, kept, run, shared
from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy
from v2drop.methods.before_llm.divprune import spread_out

DivPrune = METHODS["divprune"]


def chosen(states, most):
    """One by one, by plain loops over float64."""
    states = [x / x.norm() for x in states.double()]
    n = len(states)
    far = [[1 - float(x @ y) for y in states] for x in states]
    result = []
    while len(result) < most:
        best, value = None, -1.0
        for i in range(n):
            others = result or [j for j in range(n) if j != i]
            nearest = min((far[i][j] for j in others), default=3.0)
            if i not in result and nearest > value:
                best, value = i, nearest
        result.append(best)
    return result


@given(st.integers(1, 20), st.integers(0, 1000), st.data())
def test_the_order_of_choice_is_the_loop(n, seed, data):
    states = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    most = data.draw(st.integers(0, n))
    assert spread_out(states, most).tolist() == chosen(states, most)


def test_choice_by_hand():
    """On a circle at 0, 10, 90 and 200 degrees: 200's neighbour is farthest (110), then 10 (170), then 90."""
    angle = torch.tensor([0.0, 10.0, 90.0, 200.0]).deg2rad()
    states = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
    assert spread_out(states, 4).tolist() == [3, 1, 2, 0]
    assert spread_out(states[:1], 1).tolist() == [0]


def test_choice_follows_a_permutation():
    states, order = torch.randn(12, 5), torch.randperm(12)
    assert torch.equal(order[spread_out(states[order], 7)], spread_out(states, 7))


def test_of_equals_the_earlier_is_chosen():
    assert spread_out(torch.eye(4)[[0, 1, 1, 2]], 4).tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize("seed", range(4))
@CASES
def test_divprune_is_the_formula(pattern, left, seed):
    model, data = toy("llava"), batch("llava", [pattern], seed=seed)
    tokens = torch.randint(4, 64, (3,))
    pictures, positions = [], []
    for states, (start, quota) in zip(embedded(model, data), shared(data, left), strict=True):
        best = sorted(chosen(states, quota))
        pictures.append(states[best])
        positions += [start + patch for patch in best]
    found, trace = run(DivPrune(Schedule({0: left})), data, tokens)
    assert kept(trace) == positions
    torch.testing.assert_close(found, expected(model, data, tokens, pictures), atol=1e-4, rtol=1e-4)


def test_the_score_is_the_order_of_choice():
    data = batch("llava", ["tit"])
    states = embedded(toy("llava"), data)[0]
    with DivPrune(Schedule({0: 5}))(toy("llava")) as trace:
        toy("llava")(**data.inputs)
    score = trace.scores[0][0]
    assert score.argsort(descending=True, stable=True)[:5].tolist() == chosen(states, 5)
    assert sorted(score.tolist()) == [0] * 11 + [1, 2, 3, 4, 5]


def test_on_a_text_model_a_rows_tokens_are_one_picture():
    data, model = batch("llama", ["tvvvtvvvvvtt", "tvvtttt"]), toy("llama")
    with DivPrune(Schedule({0: 4}))(model, **data.options) as trace:
        model(**data.inputs)
    for row in range(2):
        columns = data.vision[row].nonzero().flatten()
        states = model.model.embed_tokens(data.inputs["input_ids"][row, columns])
        left = [p for p in trace.kept[0][row].tolist() if p >= 0]
        assert left == columns[sorted(chosen(states, min(4, len(columns))))].tolist()


def test_the_released_share_leaves_56_of_576():
    assert Schedule({0: 0.098}).after(576) == {0: 56}
