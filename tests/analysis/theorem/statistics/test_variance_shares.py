"""Shapley shares of R2 against regressions run one after the other in every order."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.theorem.statistics.variance_shares import lmg_shares


def r2(predictors, target):
    design = np.column_stack([np.ones(len(target)), *predictors])
    fitted = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return 1 - np.sum((target - fitted) ** 2) / np.sum((target - target.mean()) ** 2)


def by_every_order(predictors, target):
    shares, orders = np.zeros(len(predictors)), list(permutations(range(len(predictors))))
    for order in orders:
        for n, each in enumerate(order):
            shares[each] += r2(predictors[list(order[: n + 1])], target) - r2(predictors[list(order[:n])], target)
    return shares / len(orders)


@given(st.integers(0, 500), st.integers(1, 4), st.floats(0, 2))
def test_shares_are_means_over_all_orders_of_entering(seed, k, noise):
    rng = np.random.default_rng(seed)
    predictors = rng.normal(size=(k, k)) @ rng.normal(size=(k, 30))
    target = rng.normal(size=k) @ predictors + noise * rng.normal(size=30)
    found = lmg_shares(predictors, target)
    np.testing.assert_allclose(found, by_every_order(predictors, target), atol=1e-6)
    assert found.sum() == pytest.approx(r2(predictors, target), abs=1e-6) and (found > -1e-9).all()


def test_two_correlated_predictors_by_hand():
    """Lindeman, Merenda and Gold: half of (r1 squared + what x1 adds to x2), here .75 and .25 with r12 = .5."""
    x = np.array([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    x1, x2 = x[0], 0.5 * x[0] + 0.75**0.5 * x[1]
    found = lmg_shares(np.array([x1, x2]), x1)  # r1 = 1, r2 = .5, R2 = 1: shares (1 + .75) / 2 and (.25 + 0) / 2
    np.testing.assert_allclose(found, [0.875, 0.125])


def test_copies_share_and_constants_have_nothing():
    x = np.random.default_rng(0).normal(size=20)
    np.testing.assert_allclose(lmg_shares(np.array([x, 2 * x, np.ones(20)]), 3 - x), [0.5, 0.5, 0], atol=1e-9)
    assert np.isnan(lmg_shares(np.array([x]), np.ones(20))).all()
