"""Cooperative games with few players, and their answers by enumeration."""

from itertools import combinations
from math import comb

import numpy as np


class Game:
    """v of all subsets of n players, drawn at random; players 0 and 1 are symmetric if asked for."""

    def __init__(self, n, seed, alike=False):
        rng = np.random.default_rng(seed)
        self.n, self._values = n, {frozenset(s): rng.normal() for k in range(n + 1) for s in combinations(range(n), k)}
        if alike:
            swap = {0: 1, 1: 0}
            for subset in self._values:
                other = frozenset(swap.get(player, player) for player in subset)
                self._values[subset] = self._values[other]

    def of(self, subset):
        return self._values[frozenset(subset)]

    def __call__(self, kept):
        """v of rows of booleans [subset, player]."""
        return np.array([self.of(np.flatnonzero(row).tolist()) for row in kept])

    def shapley(self):
        """Sum over subsets without j, weighted by their size (Shapley 1953)."""
        values = np.zeros(self.n)
        for player in range(self.n):
            others = [other for other in range(self.n) if other != player]
            for size in range(self.n):
                for subset in combinations(others, size):
                    added = self.of({*subset, player}) - self.of(subset)
                    values[player] += added / (self.n * comb(self.n - 1, size))
        return values

    def inclusion(self, size):
        """Mean over all subsets of a size with j, minus that over those without."""
        subsets = list(combinations(range(self.n), size))
        means = [
            [np.mean([self.of(s) for s in subsets if (player in s) is inside]) for inside in (True, False)]
            for player in range(self.n)
        ]
        return np.array([inside - outside for inside, outside in means])


def every_subset(n, size):
    """All subsets of a size, rows of booleans."""
    return np.array([[player in subset for player in range(n)] for subset in combinations(range(n), size)])
