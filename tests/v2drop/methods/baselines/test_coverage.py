"""Coverage: against the best sets, by its definition, in grids and pictures; its draws and those of Stratified."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.v2drop.methods.test_seeded import alone, run
from v2drop import Coverage, Schedule, Stratified
from v2drop.contract.toys import batch, toy
from v2drop.methods.baselines.coverage import _grid_of_tower, farthest_first
from v2drop.models.parts import locate

GRID = {"grid": (4, 4)}
ROWS = ["t" + "v" * 16 + "t", "tt" + "v" * 16 + "ttt", "v" * 32 + "tt", "ttt"]


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def radius(points, chosen):
    """The distance of the farthest point from the nearest chosen one, squared."""
    return max(min(squared(x, points[c]) for c in chosen) for x in points)


places = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9, unique=True)


@settings(max_examples=60)
@given(places, st.integers(0, 99), st.data())
def test_coverage_is_within_twice_the_best(points, seed, data):
    """Gonzalez's bound: of squares, four times; the best by trying all sets of as many points."""
    most, numbers = data.draw(st.integers(1, len(points))), torch.rand(9, generator=torch.manual_seed(seed))
    chosen = farthest_first(torch.tensor(points), most, numbers[: len(points)]).tolist()
    best = min(radius(points, some) for some in combinations(range(len(points)), most))
    assert len(set(chosen)) == most and radius(points, chosen) <= 4 * best


@given(places, st.integers(0, 99))
def test_each_choice_is_one_of_the_farthest_by_lot(points, seed):
    numbers = torch.rand(len(points), generator=torch.manual_seed(seed))
    chosen = farthest_first(torch.tensor(points), len(points), numbers).tolist()
    assert sorted(chosen) == list(range(len(points))) and chosen[0] == int(numbers.argmax())
    for i in range(1, len(points)):
        gaps = {j: min(squared(points[j], points[c]) for c in chosen[:i]) for j in range(len(points))}
        farthest = [j for j in gaps if gaps[j] == max(gaps.values()) and j not in chosen[:i]]
        assert chosen[i] == max(farthest, key=lambda j: numbers[j])


@pytest.mark.parametrize("most", [48, 72, 96])
def test_both_ends_of_the_sequence_are_kept_as_often(most):
    """Ties in the order of the sequence kept up to three times as many in the first half of the picture."""
    torch.manual_seed(most)
    points = torch.cartesian_prod(torch.arange(12), torch.arange(12))
    first = torch.tensor([(farthest_first(points, most, torch.rand(144)) < 72).sum() for _ in range(40)])
    assert abs(first.double().mean() / most - 0.5) < 0.02


def test_four_tokens_cover_a_square_whatever_the_start():
    """Of a 4 x 4 grid: no token is farther than two rows and two columns from one of the four."""
    data, found = batch("llava", ["titt"]), set()
    for seed in range(30):
        (row,) = run(Coverage(Schedule({1: 4}), seed), data, toy("llava"))
        points = [divmod(i, 4) for i in range(16)]
        stay = [p - 1 for p in row[1]]
        assert radius(points, stay) <= 8
        found.add(tuple(stay))
    assert len(found) > 5


def test_every_picture_leaves_its_share_and_knows_its_own_places():
    """Two tokens of a picture are far apart in it, from any start: a diagonal of three patches at least."""
    data = batch("llava", ["titittt"])
    for seed in range(10):
        (row,) = run(Coverage(Schedule({1: 4}), seed), data, toy("llava"))
        for first in (1, 18):
            places = [divmod(p - first, 4) for p in row[1] if first <= p < first + 16]
            assert len(places) == 2 and squared(*places) >= 8


METHODS = [Stratified(Schedule({1: 0.5, 3: 0.2}), seed=(3, 9, 4, 1))]
METHODS += [Coverage(Schedule({1: 0.5, 3: 0.2}), seed=(3, 9, 4, 1), **GRID)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_row_is_what_it_is_alone_and_later_drops_choose_survivors(method):
    data, model = batch("llama", ROWS, "right"), toy("llama")
    found = run(method, data, model)
    assert found == run(method, data, model)
    for row, seed in enumerate(method.seed[:3]):
        kind, options = type(method), GRID if isinstance(method, Coverage) else {}
        (expected,) = run(kind(method.schedule, seed=seed, **options), alone(data, row), model)
        assert found[row] == expected and set(expected[3]) < set(expected[1])
        again = run(kind(Schedule({1: 0.5}), seed=seed, **options), alone(data, row), model)
        assert again[0][1] == expected[1]
    left = batch("llama", ROWS, "left")
    shift = [int((~x).sum()) for x in left.present]
    moved = [
        {k: [p - s for p in v] for k, v in x.items()} for x, s in zip(run(method, left, model), shift, strict=True)
    ]
    assert moved == found


def test_different_seeds_start_elsewhere():
    data, model = batch("llama", ROWS[:1]), toy("llama")
    for method in METHODS:
        kind, options = type(method), GRID if isinstance(method, Coverage) else {}
        drawn = [run(kind(Schedule({1: 5}), seed, **options), data, model)[0][1] for seed in range(12)]
        assert len(set(map(tuple, drawn))) > 6


@pytest.mark.parametrize("grid", [(2, 8), (8, 2), (1, 16), (4, 4)])
def test_the_grid_decides_what_is_far(grid):
    """Of two tokens, one is the farthest from the other in the grid."""
    data, model = batch("llama", ["v" * 16 + "t"]), toy("llama")
    everywhere = [divmod(i, grid[1]) for i in range(16)]
    for seed in range(8):
        (row,) = run(Coverage(Schedule({1: 2}), seed, grid), data, model)
        one, other = (everywhere[p] for p in row[1])
        assert squared(one, other) in [max(squared(x, y) for y in everywhere) for x in (one, other)]


def test_the_places_are_those_in_the_picture_also_where_a_mask_names_a_part():
    """The last row of a picture may be dropped: its tokens lie beside each other, not in a square."""
    data = batch("llava", ["titt"])
    mask = torch.zeros_like(data.vision)
    mask[0, 13:17] = True
    for seed in range(8):
        with Coverage(Schedule({1: 2}), seed)(toy("llava"), vision_mask=mask) as trace:
            toy("llava")(**data.inputs)
        one, other = trace.kept[1][0].tolist()
        assert 13 in (one, other) or 16 in (one, other)
        assert other - one >= 2


@pytest.mark.parametrize(("n", "side"), [(16, 4), (32, 4), (64, 4), (9, 3), (25, 5), (0, 4)])
def test_a_towers_grid_serves_pictures_of_its_size_and_one_of_another(n, side):
    assert _grid_of_tower(locate(toy("llava")), n) == (side, side)


def test_coverage_without_a_grid_is_refused_where_the_model_does_not_say_one():
    with pytest.raises(ValueError, match="Coverage reads the vision tower .*or a grid, as in Coverage"):
        Coverage(Schedule({1: 3}))(toy("llama"), vision_mask=torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize(("row", "grid"), [("vvvvvt", (2, 2)), ("tvvvvvvtt", (2, 4)), ("vt", (4, 4))])
def test_tokens_that_fill_no_grid_are_refused(row, grid):
    data, n = batch("llama", [row]), row.count("v")
    message = f"must fill grids of {grid[0]} x {grid[1]} tokens, one for each picture; got {n} in row 0"
    with Coverage(Schedule({1: 1}), grid=grid)(toy("llama"), **data.options), pytest.raises(ValueError, match=message):
        toy("llama")(**data.inputs)


def test_a_token_that_ends_the_row_is_not_missed():
    data = batch("llama", ["t" + "v" * 8])
    (row,) = run(Coverage(Schedule({1: 3}), grid=(2, 4)), data, toy("llama"))
    assert len(row[1]) == 3


@pytest.mark.parametrize("grid", [(4,), 16, (4, 0), (4.0, 4), "44"], ids=repr)
def test_what_is_no_grid_is_refused(grid, without_type_checker):
    with pytest.raises(ValueError, match="grid must be .*; got"):
        Coverage(Schedule({1: 3}), grid=grid)
