"""Downsampling against the model itself on smaller pictures."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.before_llm_reference import expected, kept, run
from v2drop import METHODS, Schedule
from v2drop.contract.toys import IMAGE_TOKENS, batch, toy
from v2drop.hooks.resizing import grid_of_at_most, nearest_patches

Downsample = METHODS["downsample"]
SIDE, PATCH = 4, 8


def cubic(x):
    """Keys' kernel with a = -0.5, the one that antialiased bicubic resizing uses."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def resized(line, n):
    """The last axis, by a loop: a kernel stretched by the factor, its weights summing to one."""
    m, result = line.shape[-1], []
    scale = m / n
    for i in range(n):
        centre = (i + 0.5) * scale
        weights = torch.tensor([cubic((j + 0.5 - centre) / scale) for j in range(m)], dtype=torch.float64)
        result.append((line.double() * weights).sum(-1) / weights.sum())
    return torch.stack(result, -1)


def test_the_loop_resizes_as_torch_does():
    picture = torch.randn(3, 32, 32)
    small = resized(resized(picture, 24).mT, 16).mT
    torch_says = torch.nn.functional.interpolate(picture[None], (16, 24), mode="bicubic", antialias=True)[0]
    torch.testing.assert_close(small.float(), torch_says, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("pattern", "left", "rows", "columns"),
    [("titttt", 12, 3, 4), ("tit", 7, 2, 3), ("tit", 1, 1, 1), ("ittit", 0.6, 3, 3), ("tiit", 0.5, 2, 4)],
)
def test_downsampling_is_the_model_on_smaller_pictures(pattern, left, rows, columns, seed):
    model, data = toy("llava"), batch("llava", [pattern], seed=seed)
    tokens, pictures, positions = torch.randint(4, 64, (3,)), [], []
    starts = data.vision[0].nonzero().flatten().tolist()[::IMAGE_TOKENS]
    found, trace = run(Downsample(Schedule({0: left})), data, tokens)
    for start, picture in zip(starts, data.inputs["pixel_values"], strict=True):
        small = resized(resized(picture, columns * PATCH).mT, rows * PATCH).mT.float()[None]
        tower = model.model.vision_tower(small, interpolate_pos_encoding=True, output_hidden_states=True)
        pictures.append(model.model.multi_modal_projector(tower.hidden_states[-2][:, 1:])[0].double())
        for row in range(rows):
            for column in range(columns):
                centre = (row + 0.5) * SIDE / rows, (column + 0.5) * SIDE / columns
                distance = [
                    (patch // SIDE + 0.5 - centre[0]) ** 2 + (patch % SIDE + 0.5 - centre[1]) ** 2
                    for patch in range(16)
                ]
                # Of equally near ones the last.
                near = max(patch for patch in range(16) if distance[patch] < min(distance) + 1e-9)
                positions.append(start + near)
    assert kept(trace) == positions
    torch.testing.assert_close(found, expected(model, data, tokens, pictures), atol=1e-4, rtol=1e-4)


@given(st.integers(1, 24), st.data())
def test_the_grid_is_the_largest_and_then_the_squarest(side, data):
    most = data.draw(st.integers(1, side**2))
    rows, columns = grid_of_at_most(most, side)
    assert rows <= columns <= min(side, 2 * rows) and rows * columns <= most
    for r in range(1, side + 1):
        for c in range(r, min(side, 2 * r) + 1):
            if r * c <= most:
                assert (r * c, -(c - r)) <= (rows * columns, -(columns - rows))


@given(st.integers(1, 24), st.data())
def test_each_token_is_at_home_where_it_is_shown(side, data):
    sides = tuple(data.draw(st.integers(1, side)) for _ in range(2))
    token, home = nearest_patches(sides, side)
    assert home.tolist() == sorted(set(home.tolist())) and token[home].tolist() == list(range(sides[0] * sides[1]))


def test_budgets_of_the_papers():
    assert [grid_of_at_most(left, 24) for left in (64, 128, 192, 576)] == [(8, 8), (8, 16), (12, 16), (24, 24)]


@pytest.mark.parametrize("left", [0.5, 8, 3, 15])
def test_a_row_that_ends_in_a_placeholder(left):
    model, data = toy("llava"), batch("llava", ["ti"])
    with Downsample(Schedule({0: left}))(model) as trace:
        model(**data.inputs)
    rows, columns = grid_of_at_most(Schedule({0: left}).after(16)[0], SIDE)
    allowed = Schedule({0: left}).after(15)[0]
    assert min(allowed, rows * columns) - 1 <= trace.vision_tokens[0][0] <= allowed


def test_bfloat16():
    torch.manual_seed(0)
    model = type(toy("llava"))(toy("llava").config).eval().to(torch.bfloat16)
    data = batch("llava", ["tittt"])
    with Downsample(Schedule({0: 5}))(model) as trace, torch.no_grad():
        model(**data.inputs | {"pixel_values": data.inputs["pixel_values"].bfloat16()})
    assert trace.vision_tokens[0] == [4]
