r"""Cooperative games: what a player adds, from subsets S of n players and their values v(S).

Two answers. The *inclusion effect* at one size, :math:`E[v(S) | j \in S] - E[v(S) | j \notin S]` over all S with k
players, asks about a budget. The *Shapley value*, the mean over orders of what j adds to those before it, asks about
all sizes at once (Shapley 1953; sampled orders: Castro, Gomez, Tejada 2009; with their reverses: Mitchell et al. 2022).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

Subsets = Bool[np.ndarray, "subset player"]
Values = Float[np.ndarray, " subset"]
Effects = Float[np.ndarray, " player"]
Orders = Int[np.ndarray, "order player"]


def random_subsets(n_players: int, size: int, n_subsets: int, rng: np.random.Generator) -> Subsets:
    """Subsets with `size` players, drawn independently, each as likely as any other."""
    return rng.random((n_subsets, n_players)).argsort(1).argsort(1) < size


def inclusion_effects(kept: Subsets, values: Values) -> Effects:
    """The inclusion effect of every player: the mean of v over subsets with it minus the mean over those without.

    Args:
        kept: Random subsets of one size.
        values: v of each of them.

    Returns:
        The effects, in the unit of v; NaN for a player that is in all subsets or in none.

    >>> inclusion_effects(np.array([[True, False], [False, True], [True, False]]), np.array([3.0, 1.0, 5.0]))
    array([ 3., -3.])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        inside, outside = (values @ who / who.sum(0) for who in (kept, ~kept))
    return inside - outside


def antithetic_orders(n_players: int, n_pairs: int, rng: np.random.Generator) -> Orders:
    """Random orders of the players, each followed by its reverse: 2 * n_pairs rows."""
    orders = rng.permuted(np.tile(np.arange(n_players), (n_pairs, 1)), axis=1)
    return np.stack([orders, orders[:, ::-1]], 1).reshape(-1, n_players)


def prefixes(orders: Orders) -> Bool[np.ndarray, "order n_and_1 player"]:
    """The first 0, 1, ... n players of every order, as subsets.

    >>> prefixes(np.array([[1, 0]])).astype(int).tolist()
    [[[0, 0], [0, 1], [1, 1]]]
    """
    sizes = np.arange(orders.shape[1] + 1)
    return orders.argsort(1)[:, None, :] < sizes[None, :, None]


def marginal_contributions(
    orders: Orders, values: Float[np.ndarray, "order n_and_1"]
) -> Float[np.ndarray, "order player"]:
    """What each player adds to those before it in each order; the mean over orders estimates the Shapley values.

    The contributions of one order add up to v(all) - v(none).

    Args:
        orders: Orders of the players.
        values: v of their first 0, 1, ... n players.

    >>> marginal_contributions(np.array([[1, 0]]), np.array([[0.0, 5.0, 7.0]]))
    array([[2., 5.]])
    """
    added = np.empty(orders.shape)
    np.put_along_axis(added, orders, np.diff(values, axis=1), axis=1)
    return added


def bootstrap_effects(kept: Subsets, values: Values, seed: int = 0, resamples: int = 200) -> tuple[Effects, Effects]:
    """The 95 % percentile bootstrap interval of every player's inclusion effect, over subsets.

    Args:
        kept: Random subsets of one size, many: over few the interval is too short.
        values: v of each of them.
        seed: The seed of the resamples.
        resamples: The number of resamples.

    Returns:
        Two values: the lower and the upper ends; NaN where a resample leaves no estimate.
    """
    rng, n = np.random.default_rng(seed), len(values)
    drawn = [inclusion_effects(kept[some], values[some]) for some in rng.integers(n, size=(resamples, n))]
    low, high = np.percentile(np.stack(drawn), [2.5, 97.5], axis=0)
    return low, high
