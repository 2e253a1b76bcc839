"""Attention without its position trend."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy
from v2drop.scoring.position_trend import divide_trend


def divided(attention, rank=None, real=None):
    attention = torch.tensor([attention])
    rank = torch.arange(attention.shape[1])[None] if rank is None else torch.tensor([rank])
    real = torch.ones_like(attention, dtype=torch.bool) if real is None else torch.tensor([real])
    return divide_trend(attention, rank, real)[0]


def test_a_planted_trend_is_divided_out_and_what_is_left_is_the_content():
    content = torch.tensor([1.0, 3.0, 3.0, 1.0])  # has no trend of its own
    trend = torch.exp(0.7 * torch.arange(4.0) - 5)
    torch.testing.assert_close(divided((content * trend).tolist()), content / content.log().mean().exp())


@pytest.mark.parametrize("attention", [[0.0, 0.0], [0.3], [0.0, 0.2], [0.1, 0.3], [0.1, 0.0, 0.3]])
def test_through_fewer_than_three_weights_there_is_no_trend(attention):
    assert divided(attention).tolist() == torch.tensor(attention).tolist()


def test_zero_attention_stays_zero_and_does_not_enter_the_fit():
    torch.testing.assert_close(divided([1.0, 0.0, 4.0, 8.0]), torch.tensor([1.0, 0.0, 1.0, 1.0]))


def test_the_trend_is_of_ranks_not_of_places_and_padding_does_not_enter():
    got = divided([1.0, 2.0, 16.0, 9.0], rank=[0, 1, 4, 0], real=[True, True, True, False])
    torch.testing.assert_close(got, torch.tensor([1.0, 1.0, 1.0, 9.0]))


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=20))
def test_it_is_the_least_squares_line_of_the_logarithm(attention):
    x, y = torch.arange(len(attention)).double(), torch.tensor(attention).double().log()
    slope, level = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y[:, None]).solution.flatten()
    expected = (y - slope * x - level).exp().float()
    torch.testing.assert_close(divided(attention), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if "debias" in kind.__dataclass_fields__])
def test_methods_divide_their_own_scores(name):
    data, model, schedule = batch("llava", ["titttt", "iitt"]), toy("llava"), Schedule({2: 6})
    found = []
    for debias in (False, True):
        with METHODS[name](schedule, debias=debias)(model) as trace:
            model(**data.inputs)
        found.append(trace.scores[2])
    plain, debiased = found
    rank = torch.arange(plain.shape[1]).expand_as(plain)
    expected = divide_trend(plain.nan_to_num(), rank, ~plain.isnan())
    torch.testing.assert_close(debiased.nan_to_num(), expected)
    assert not torch.equal(plain.nan_to_num(), debiased.nan_to_num())
