"""`Seeded`, the base class of methods that draw random numbers: a number belongs to (seed, layer, vision token)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2drop.arguments import seed_number
from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.types import Scores, States

REPEATED = 0.05  # relative distance below which two rows' states are those of one prompt, differently rounded


@dataclass(frozen=True)
class Seeded(Method):
    """A method with a seed. What a row draws depends on its seed alone: not on the batch, nor on the padding.

    Args:
        schedule: layers at whose inputs tokens are dropped, and the number or share of tokens left.
        seed: seed of the draws, an int for all rows, or one for each row of the prompt; `generate` repeats these with
            the rows for beams.

    Raises:
        ValueError: a seed is no int from 0 to `v2drop.arguments.LARGEST_SEED`, or the tuple is empty; in a forward
            pass, if there are as many seeds as neither the prompt has rows nor had before they were repeated.
    """

    seed: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        """Check the seed too."""
        super().__post_init__()
        if not isinstance(self.seed, (tuple, list)):
            seed: int | tuple[int, ...] = seed_number(self.seed)
        elif self.seed:
            seed = tuple(seed_number(each, "each seed") for each in self.seed)
        else:
            raise ValueError("seed must be an int, or a tuple with one for each row of the prompt; got none.")
        object.__setattr__(self, "seed", seed)

    def numbers(self, candidates: Candidates) -> Scores:
        """Uniform random numbers in [0, 1), one for each candidate, by its index among the prompt's vision tokens.

        Raises:
            ValueError: there are as many seeds as neither the prompt has rows nor had before they were repeated.
        """
        seeds = self.seed if isinstance(self.seed, tuple) else (self.seed,)
        if isinstance(self.seed, tuple):
            _check_rows(len(seeds), candidates)
        n_tokens, index = max(candidates.n_prompt_tokens), candidates.vision_index
        drawn = torch.stack([_draw(seed, candidates.layer, n_tokens) for seed in seeds]).to(index.device)
        return drawn.repeat_interleave(len(index) // len(seeds), 0).gather(1, index.clamp(0, n_tokens - 1))


def _draw(seed: int, layer: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + layer) % 2**32)
    return torch.rand(n, generator=generator)


def _check_rows(n_seeds: int, candidates: Candidates) -> None:
    """Refuse another number of seeds than rows, unless the rows are a prompt's, each repeated as often."""
    times, rest = divmod(len(candidates.hidden), n_seeds)
    if rest or (times > 1 and not _has_repeated_rows(candidates.sequence.states, times)):
        raise ValueError(
            f"seed must be an int, or a tuple with one for each row of the prompt, {len(candidates.hidden)} here "
            f"(`generate` repeats a prompt's rows for beams, and the seeds with them); got {n_seeds} seeds."
        )


def _has_repeated_rows(states: States, times: int) -> bool:
    blocks = states.unflatten(0, (-1, times)).float()
    distance = (blocks - blocks[:, :1]).flatten(2).norm(dim=-1)
    return bool((distance <= REPEATED * blocks[:, :1].flatten(2).norm(dim=-1)).all())
