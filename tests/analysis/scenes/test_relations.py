"""Quarters and neighbours, by hand."""

import pytest

from analysis.scenes.relations import DIRECTIONS, neighbour, quadrant

PLACES = {(10, 10): "top-left", (60, 10): "bottom-left", (60, 91): "bottom-right", (47, 10): None}


@pytest.mark.parametrize(("place", "name"), PLACES.items())
def test_quarters(place, name):
    assert quadrant(place, 96) == name


def test_the_only_one_in_a_direction():
    found = {way: neighbour(0, [(50, 50), (55, 10), (20, 55)], way) for way in DIRECTIONS}
    assert found == {"left": 1, "above": 2, "right": None, "below": None}


def test_two_in_a_direction_or_one_on_the_diagonal_are_no_answer():
    assert neighbour(0, [(50, 50), (55, 10), (50, 30)], "left") is None
    assert all(neighbour(0, [(50, 50), (30, 30)], way) is None for way in DIRECTIONS)
    diagonal_too = [(50, 50), (30, 30), (50, 20), (50, 70)]  # the diagonal one may be meant as well
    assert neighbour(0, diagonal_too, "left") is None and neighbour(0, diagonal_too, "right") == 3
