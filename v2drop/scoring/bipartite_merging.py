"""ToMe's merging of tokens: who goes to whom, and how many in which block."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize


@cache
def merges_per_block(patches: int, left: int, blocks: int) -> tuple[int, ...]:
    """How many patches are merged away in each block: as equal as can be, the larger numbers in front.

    A block can merge half of what it has.

    Raises:
        ValueError: so few cannot be left.

    >>> spread(576, 208, 23) == (16,) * 23, spread(16, 3, 3), spread(16, 9, 4)
    (True, (5, 5, 3), (2, 2, 2, 1))
    """
    least = patches
    for _ in range(blocks):
        least -= least // 2
    if left < least:
        raise ValueError(
            f"{blocks} blocks of the tower that halve {patches} patches leave {least}; allowed: {least} or more; got "
            f"{left}."
        )
    numbers = (0,) * blocks
    # Each step merges one more in one more block, and takes away one patch or none: every number in between is met.
    for step in range(patches * blocks):
        if patches - sum(numbers) == left:
            break
        numbers, n = (), patches
        for block in range(blocks):
            numbers += (min(step // blocks + (block <= step % blocks), n // 2),)
            n -= numbers[-1]
    return numbers


def match_tokens(
    keys: Float[Tensor, "images n angle"], n_merged: int
) -> tuple[Int[Tensor, "images left"], Int[Tensor, "images n"]]:
    r"""Every other token, from the first, proposes to the nearest of those between; the best proposals are merged.

    Nearness is the cosine of keys, :math:`k_a \cdot k_b / (|k_a| |k_b|)`. The first token, the class token, proposes
    to none.

    Returns:
        The tokens that stay, proposers first, and the place among them to which every token goes.
    """
    unit = normalize(keys.float(), dim=2)
    cosine = unit[:, ::2] @ unit[:, 1::2].mT
    cosine[:, 0] = -torch.inf
    partner, proposers = cosine.argmax(2), cosine.shape[1]
    order = cosine.amax(2).argsort(dim=1, descending=True, stable=True)
    merged, single = order[:, :n_merged], order[:, n_merged:].sort(1).values
    between = torch.arange(1, keys.shape[1], 2, device=keys.device).expand(len(keys), -1)
    stay = torch.cat([2 * single, between], 1)
    places = torch.arange(stay.shape[1], device=keys.device).expand_as(stay)
    goes = torch.zeros(keys.shape[:2], dtype=torch.long, device=keys.device).scatter(1, stay, places)
    return stay, goes.scatter(1, 2 * merged, proposers - n_merged + partner.gather(1, merged))


def merge_tokens(
    states: Float[Tensor, "images n width"], sizes: Float[Tensor, "images n"], goes: Int[Tensor, "images n"], left: int
) -> tuple[Float[Tensor, "images left width"], Float[Tensor, "images left"]]:
    """States at each place, weighted by size, and the sizes' sums.

    A product of matrices, for sums by index come in another order at each run on a GPU.
    """
    here: Bool[Tensor, "images left n"] = goes[:, None] == torch.arange(left, device=goes.device)[:, None]
    weights = here * sizes[:, None]
    total = weights.sum(2)
    return (weights @ states.float() / total[..., None]).to(states.dtype), total
