"""Clusters around density peaks: against loops, and where densities or places are equal."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dpc_knn_loops import peaks
from v2drop.scoring.density_peaks import dpc_knn


@settings(max_examples=60)
@given(data=st.data())
def test_clusters_are_those_of_the_loops(data):
    n = data.draw(st.integers(1, 30))
    k = data.draw(st.integers(1, min(n, 6)))
    torch.manual_seed(data.draw(st.integers(0, 10_000)))
    points, noise = torch.randn(n, 3), torch.rand(n)
    centres, members = dpc_knn(points, k, noise)
    expected, of = peaks(points.double().tolist(), k, noise.tolist())
    assert centres.tolist() == expected and members.argmax(0).tolist() == of
    assert torch.equal(members.sum(0), torch.ones(n))


def test_noise_settles_which_of_equally_dense_points_is_a_centre():
    """With one neighbour, itself, all points are equally dense."""
    points = torch.tensor([[0.0], [1.0], [1.5], [4.0]])
    for first in range(4):
        noise = torch.rand(4).mul(0.9)
        noise[first] = 1.0
        assert dpc_knn(points, 1, noise)[0].tolist() == [first]


def test_equal_points_are_centres_of_their_own():
    centres, members = dpc_knn(torch.zeros(3, 2), 2, torch.tensor([0.1, 0.9, 0.5]))
    assert centres.tolist() == [1, 2] and members.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
