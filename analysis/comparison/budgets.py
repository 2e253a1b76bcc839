"""Budgets that a model can be run at: whole numbers of tokens that drops at some layers can reach."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.statistics.lists import numbers
from v2drop import Schedule
from v2drop.arguments import whole_number, whole_numbers


def reachable_budgets(shares: Sequence[float], layers: Sequence[int], n_tokens: int, n_layers: int) -> list[int]:
    """True layer averages nearest to shares of the tokens, without those that no drop at these layers can reach.

    Layers before the first drop run on all tokens, so a decoder with few layers, or a picture with few tokens, has
    fewer budgets.

    Args:
        shares: The shares of the tokens.
        layers: The drop layers.
        n_tokens: The number of the prompt's vision tokens.
        n_layers: The number of decoder layers.

    Returns:
        Different budgets, the largest first.

    Raises:
        ValueError: No share can be reached, or an argument is out of range.

    >>> reachable_budgets((2 / 3, 1 / 3, 2 / 9, 1 / 9), (1, 6, 8), 144, 12)
    [96, 48, 32, 16]
    >>> reachable_budgets((2 / 3, 1 / 3, 1 / 9), (1, 3), 12, 5)
    [8, 4]
    """
    n_tokens, n_layers = whole_number("n_tokens", n_tokens, 1), whole_number("n_layers", n_layers, 1)
    shares, layers = numbers("shares", shares, 0, 1), whole_numbers("layers", layers, 0, n_layers - 1)
    least = Schedule(dict.fromkeys(layers, 0)).average(n_tokens, n_layers)
    budgets = sorted({round(share * n_tokens) for share in shares}, reverse=True)
    reachable = [budget for budget in budgets if budget >= max(least, 1)]
    if not reachable:
        raise ValueError(
            f"drops at layers {layers} of {n_layers} leave {least:g} of {n_tokens} tokens a layer or more; got "
            f"budgets of {budgets}. Drop earlier, ask for larger shares, or give a picture with more tokens."
        )
    return reachable
