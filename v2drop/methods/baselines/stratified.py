"""Stratified random dropping: spread along the sequence as evenly as can be, and still random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.in_llm.v2drop import V2Drop
from v2drop.methods.seeded import Seeded
from v2drop.types import Scores


@dataclass(frozen=True)
class Stratified(Seeded):
    """Of n candidates, one random token of each of k equal runs stays; every token with the probability k / n.

    Where k divides n, these are n / k neighbours each, and one of them stays, all equally likely, whatever happens in
    the other runs. Where it does not, a run ends inside a token, and `ordered_pivotal` gives that token its share in
    both runs without ever choosing it twice. So of any first j candidates, j k / n stay, rounded up or down. Drops
    after the first choose among the survivors, each with a draw of its own.

    `Random` leaves gaps and clusters, `Uniform` always the same places: this baseline is spread as evenly as the second
    and draws as the first does. What a row draws depends on its seed, the layer and its own tokens alone, as in
    `Random`.

    Args:
        schedule: drop layers from 0 on.
        seed: seed of the draws, an int for all rows, or one for each row of the prompt; `generate` repeats these with
            the rows for beams.

    Raises:
        ValueError: as `Seeded`.
    """

    released_schedule: ClassVar[Schedule] = V2Drop.released_schedule  # because V2Drop is compared with this baseline
    uses_position: ClassVar[bool] = True

    def score(self, candidates: Candidates) -> Scores:
        """1 for the tokens that stay, 0 for the others."""
        score = torch.zeros(candidates.valid.shape)
        numbers = self.numbers(candidates).tolist()
        for row, (n, k) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
            score[row, ordered_pivotal(numbers[row][:n], k)] = 1
        return score.to(candidates.hidden.device)


def ordered_pivotal(numbers: Sequence[float], k: int) -> list[int]:
    """Choose k of n places, each with the probability k / n, one for each of k runs (ordered pivotal sampling).

    The method of Deville and Tille (Biometrika 85, 1998) in the order of the sequence, which is the design of one place
    for each run of the length n / k (Chauvet, Bernoulli 18, 2012). Every place has a number, k / n at first. A place
    with p, neither in nor out, meets the next one, which has q = k / n:

    - p + q < 1: one of them goes on with p + q, the first with the probability p / (p + q); the other is out.
    - p + q >= 1: one of them is in, the first with the probability (1 - q) / (2 - p - q); the other goes on with
      p + q - 1.

    *Equal probabilities.* A meeting leaves the expected number of both as it is, since p = (p + q) p / (p + q) and
    p (2 - p - q) = (1 - q) + (1 - p) (p + q - 1). In the end a number is 1 (in) or 0 (out), so its expectation, k / n,
    is the probability of being in. *Spread.* A meeting leaves the sum of both as it is. When place j has met those
    before it, the first j numbers sum to j k / n, and all but one are 0 or 1. So j k / n of them stay, rounded up or
    down.

    Numbers are counted in n-ths, which are whole.

    Args:
        numbers: n uniform random numbers in [0, 1); the first is not used.
        k: number of places, from 0 to n.

    Returns:
        The places, ascending.

    >>> ordered_pivotal([0.0, 0.2, 0.7, 0.4, 0.9, 0.1], 2), ordered_pivotal([0.0, 0.2, 0.7], 3)
    ([2, 4], [0, 1, 2])
    """
    n, chosen = len(numbers), []
    waiting, share = 0, k  # the place that is neither in nor out, and its probability
    for place in range(1, n):
        total = share + k
        if total < n:
            waiting = waiting if numbers[place] * total < share else place
            share = total
        else:
            stays = waiting if numbers[place] * (2 * n - total) < n - k else place
            waiting = waiting + place - stays
            chosen.append(stays)
            share = total - n
    return sorted([*chosen, waiting] if share else chosen)
