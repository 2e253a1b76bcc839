"""ToMe's bipartite token merging (arXiv 2210.09461): which tokens are merged, and how many in which block."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize


@cache
def merges_per_block(patches: int, left: int, blocks: int) -> tuple[int, ...]:
    """Number of patches that each block merges away: as equal as possible, larger numbers first.

    A block can merge away at most half of its patches.

    Args:
        patches: patches before the first block.
        left: tokens after the last block.
        blocks: number of blocks.

    Raises:
        ValueError: `left` is less than halving in every block leaves.

    >>> merges_per_block(576, 208, 23) == (16,) * 23, merges_per_block(16, 3, 3), merges_per_block(16, 9, 4)
    (True, (5, 5, 3), (2, 2, 2, 1))
    """
    least = patches
    for _ in range(blocks):
        least -= least // 2
    if left < least:
        raise ValueError(
            f"{blocks} blocks of the tower that halve {patches} patches leave {least}; allowed: {least} or more; got "
            f"{left}. Give a larger count or share."
        )
    numbers = (0,) * blocks
    # Each step lets one more block merge one more patch, which lowers the result by one or not at all. So every
    # possible `left` is reached.
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
    r"""Match each token at an even index with its most similar token at an odd index; the best matches are merged.

    Similarity is the cosine of the keys, :math:`k_a \cdot k_b / (|k_a| |k_b|)`. Token 0, the class token, is never
    merged into another.

    Args:
        keys: keys of all tokens, mean over heads, [images, n, head dim].
        n_merged: number of tokens at even indices that are merged into their match.

    Returns:
        Two index tensors. The first, [images, n - n_merged], holds the tokens that remain: even indices, then odd ones,
        each ascending. The second, [images, n], holds for every token the place among the remaining tokens to which it
        belongs.
    """
    unit = normalize(keys.float(), dim=2)
    cosine = unit[:, ::2] @ unit[:, 1::2].mT
    cosine[:, 0] = -torch.inf
    partner, n_even = cosine.argmax(2), cosine.shape[1]
    order = cosine.amax(2).argsort(dim=1, descending=True, stable=True)
    merged, unmerged = order[:, :n_merged], order[:, n_merged:].sort(1).values
    odd = torch.arange(1, keys.shape[1], 2, device=keys.device).expand(len(keys), -1)
    remaining = torch.cat([2 * unmerged, odd], 1)
    place = torch.arange(remaining.shape[1], device=keys.device).expand_as(remaining)
    place_of_token = torch.zeros(keys.shape[:2], dtype=torch.long, device=keys.device).scatter(1, remaining, place)
    return remaining, place_of_token.scatter(1, 2 * merged, n_even - n_merged + partner.gather(1, merged))


def merge_tokens(
    states: Float[Tensor, "images n width"], sizes: Float[Tensor, "images n"], place: Int[Tensor, "images n"], left: int
) -> tuple[Float[Tensor, "images left width"], Float[Tensor, "images left"]]:
    """Mean state at each place, weighted by size, in the dtype of `states`, and the sum of the sizes there.

    Args:
        states: states of the tokens.
        sizes: number of patches that each token is made of.
        place: the place to which each token belongs (`match_tokens`).
        left: number of places.
    """
    # A matrix product: on a GPU, sums by index (scatter_add) are added up in a different order at each run.
    is_at_place: Bool[Tensor, "images left n"] = place[:, None] == torch.arange(left, device=place.device)[:, None]
    weights = is_at_place * sizes[:, None]
    total = weights.sum(2)
    return (weights @ states.float() / total[..., None]).to(states.dtype), total
