"""SparseVLM+ against its formulas: the preference of the rotation, the heads that rate most, the scores."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.slow_decoder import compare
from tests.support.text_rater_loops import raters
from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy
from v2drop.methods.in_llm.sparsevlm_plus import rotary_prior
from v2drop.scoring.attention import QueriesAndKeys

SparseVLMPlus = METHODS["sparsevlm_plus"]
ROWS = ["ttvvvvvvvvvvvvvvttttt", "vvvvvvvvt", "tvvvvvttvvvvvvvttt", "t" + "v" * 60 + "tttt"]
SCHEDULES = [{1: 5}, {2: 0.5}, {1: 0.7, 3: 0.3}, {1: 6, 2: 3, 3: 1}, {2: 7, 4: 0}]


def logit_of_ones(i, j, dim):
    return 2 / math.sqrt(dim) * sum(math.cos(10000 ** (-2 * k / dim) * (i - j)) for k in range(dim // 2))


def reference(seen, heads):
    rates, n_heads, dim = raters(seen), len(seen.weights), seen.keys.shape[-1]
    ids = seen.ran[-1].ids.tolist()

    def corrected(h, c):
        return sum(float(seen.weights[h, r, c]) / logit_of_ones(ids[r], ids[c], dim) for r in rates) / len(rates)

    scores = [[corrected(h, c) for c in seen.vision] for h in range(n_heads)]
    best = sorted(range(n_heads), key=lambda h: (-sum(scores[h]), h))[:heads]
    return seen.best([sum(scores[h][i] for h in best) / len(best) for i in range(len(seen.vision))])


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("heads", [1, 2, 14])
@settings(max_examples=20)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 99), left=st.sampled_from(SCHEDULES))
def test_is_the_reference(family, heads, row, seed, left):
    method = SparseVLMPlus(Schedule(left), heads=heads)
    compare(toy(family), method, batch(family, [row], seed=seed), lambda seen: reference(seen, heads), "keep")


def test_the_preference_by_hand():
    """Four dimensions turn by 1 and by 1/100 a position: (cos d + cos d/100) for d = 0, 1 and 3."""
    ids = torch.tensor([[0.0, 2.0, 3.0]])
    angle = torch.cat([ids[..., None] * torch.tensor([1.0, 0.01])] * 2, -1)
    keys = torch.zeros(1, 3, 1, 4)
    projected = QueriesAndKeys(keys, keys, (angle.cos(), angle.sin()), scaling=0.5)
    got = rotary_prior(projected, torch.tensor([[2]]), torch.tensor([[2, 1, 0]]))
    expected = [2.0, math.cos(1) + math.cos(0.01), math.cos(3) + math.cos(0.03)]
    torch.testing.assert_close(got[0, 0], torch.tensor(expected))


def test_the_preference_can_be_negative_and_is_not_mended():
    assert logit_of_ones(22, 0, 4) < 0 < logit_of_ones(1, 0, 4)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_raters_equals_its_rows_scores(heads, seed):
    """With many more vision tokens in one row than in the others, whose heads padding must not choose."""
    rows, model = ["t" + "v" * 24 + "tttttt", "vvvvvvtttttttttt", "tvvvvt"], toy("llama")
    data = batch("llama", rows, seed=seed)
    method = SparseVLMPlus(Schedule({1: 4, 3: 2}), heads=heads)
    with method(model, **data.options) as trace:
        model(**data.inputs, position_ids=data.positions)
    for row, width in enumerate(map(len, rows)):
        with method(model, vision_mask=data.vision[row, -width:][None]) as own:
            model(input_ids=data.inputs["input_ids"][row, -width:][None])
        for layer in (1, 3):
            n = own.scores[layer].shape[1]
            torch.testing.assert_close(trace.scores[layer][row, :n], own.scores[layer][0], atol=1e-6, rtol=1e-4)


def test_the_released_schedule():
    assert SparseVLMPlus.released_schedule.after(576) == {3: 300, 7: 200, 16: 118}
    assert SparseVLMPlus(SparseVLMPlus.released_schedule).heads == 14


@pytest.mark.parametrize("heads", [0, -1, 1.5, True])
def test_refuses_what_is_no_number_of_heads(heads):
    method = SparseVLMPlus(Schedule({1: 4}))
    object.__setattr__(method, "heads", heads)
    with pytest.raises(ValueError, match=f"heads must be an int of 1 or more; got {heads}"):
        method.__post_init__()


def test_heads_are_chosen_by_each_row_alone():
    """Two of four: padding must not vote."""
    rows, model = ["tvvvvvvttt", "ttvvvvvvvvvvvvvvttttt", "vvvvtt"], toy("llama")
    data, method = batch("llama", rows), SparseVLMPlus(Schedule({1: 4, 3: 2}), heads=2)
    with method(model, **data.options) as together:
        model(**data.inputs, position_ids=data.positions)
    for row in range(len(rows)):
        there = data.present[row]
        with method(model, vision_mask=data.vision[row : row + 1, there]) as alone:
            model(input_ids=data.inputs["input_ids"][row : row + 1, there])
        for layer in (1, 3):
            n = alone.scores[layer].shape[1]
            torch.testing.assert_close(together.scores[layer][row, :n], alone.scores[layer][0], atol=1e-6, rtol=1e-4)
