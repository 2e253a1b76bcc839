"""SparseVLM v1.5: drop what text raters attend to least, recycle the best of it as clusters (arXiv 2410.04417)."""

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Selection
from v2drop.methods.in_llm.text_raters import TextRated
from v2drop.scoring.density_peaks import dpc_knn
from v2drop.scoring.position_trend import divide_trend
from v2drop.types import Scores


@dataclass(frozen=True)
class SparseVLM(TextRated):
    r"""At layer l, token i scores :math:`\operatorname{mean}_{h, r} A_h^{l-1}[r, i]` over heads and raters r (`TextRated`).

    Of p tokens that are not kept, the best :math:`t = \lfloor 0.3 p \rfloor + 1` are recycled: clustered
    (`v2drop.scoring.density_peaks`) into :math:`c = \lfloor t / 10 \rfloor + 1` tokens, the unweighted means of their
    states, which go behind the kept tokens of a row's last picture, before the text. The schedule's count is for all
    that go on: as many are kept as leaves room for their c. Where not even c tokens of none kept find room, c is as
    many as do; where all stay, none is made. A recycled token goes by the position of its cluster's centre. Where
    pictures have text between them, places are filled from the front, so if more is recycled than the last picture
    loses, tokens of a later picture move into the places of an earlier one.

    The paper takes the rank of the raters' attention for the count; the released v1.5, followed here, fixed counts per
    budget. That code runs one prompt with one picture at a time, through an attention of its own that computes whole
    maps, books a layer at the length it leaves and draws the noise of densities anew each time; here it is seeded.

    Args:
        schedule: from layer 1 on.
        full_attention_map: compute the full attention map at the layer before a drop, as the released code does.
        seed: of the noise on densities, which settles which of two equally dense tokens is the denser.
        debias: divide the scores by their position trend (arXiv 2508.17807).

    Raises:
        ValueError: the schedule drops at layer 0, or the seed is no int.
    """

    seed: int = 0
    debias: bool = False

    merges_tokens: ClassVar[bool] = True
    positions: ClassVar[Literal["keep", "repack"]] = "repack"
    released_schedule: ClassVar[Schedule] = Schedule(
        {3: 309 / 576, 7: 204 / 576, 16: 113 / 576}, label="SparseVLM v1.5, released code's 192, recycled ones included"
    )

    def __post_init__(self) -> None:
        """Check the seed too."""
        super().__post_init__()
        if not isinstance(self.seed, Integral):
            raise ValueError(f"seed must be an int; got {self.seed!r}.")

    def score(self, candidates: Candidates) -> Scores:
        """Mean over heads and raters."""
        weights, _, part = self.rater_attention(candidates)
        score = torch.einsum("bhrv,br->bhv", weights, part).mean(1)
        return divide_trend(score, candidates.vision_index, candidates.valid) if self.debias else score

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """The highest scores, and behind them what is made of the best of the rest."""
        if not any(candidates.n_keep):
            return super().choose(candidates, score)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + candidates.layer) % 2**63)
        drawn = torch.rand(max(candidates.n_prompt_tokens), generator=generator).to(score.device)
        noise = drawn[candidates.vision_index.clamp(0, len(drawn) - 1)]
        keep, orders, states = torch.zeros_like(candidates.valid), [], []
        for row, (n, left) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
            best = score[row, :n].argsort(descending=True, stable=True)
            places, order, made = _row(candidates.hidden[row, :n], best, noise[row, :n], left)
            keep[row, places] = True
            orders.append(order)
            states.append(made)
        order = pad_sequence(orders, batch_first=True, padding_value=-1)
        return Selection(keep, candidates.n_keep, order, pad_sequence(states, batch_first=True))


def n_kept_without_recycled(n: int, left: int) -> int:
    """How many of `n` tokens are kept, so that with what is recycled of the others `left` go on.

    >>> n_kept(576, 309), n_kept(309, 204), n_kept(204, 113)
    (300, 200, 110)
    """
    if left == n:
        return n
    return next((k for k in range(left, -1, -1) if k + n_recycled(n - k)[1] <= left), 0)


def n_recycled(n_dropped: int) -> tuple[int, int]:
    """How many of the dropped tokens are recycled, and how many tokens are made of them.

    >>> n_recycled(276), n_recycled(109), n_recycled(94)
    ((83, 9), (33, 4), (29, 3))
    """
    recycled = n_dropped * 3 // 10 + 1
    return recycled, recycled // 10 + 1


def _row(
    hidden: Float[Tensor, "n dim"], best: Int[Tensor, " n"], noise: Float[Tensor, " n"], left: int
) -> tuple[Int[Tensor, " left"], Int[Tensor, " left"], Float[Tensor, "left dim"]]:
    """One row's places that go on, who stands there, and their states.

    Args:
        hidden: states.
        best: tokens by falling score.
        noise: on densities.
        left: how many go on.
    """
    k = n_kept_without_recycled(len(best), left)
    kept, dropped, made = best[:k].sort().values, best[k:], left - k
    if not made:
        return kept, kept, hidden[kept]
    pool = dropped[: n_recycled(len(dropped))[0]].sort().values
    centres, members = dpc_knn(hidden[pool].detach().float(), made, noise[pool])
    means = members @ hidden[pool].float() / members.sum(1, keepdim=True)
    places = torch.cat([kept, dropped.sort().values[-made:]])
    return places, torch.cat([kept, pool[centres]]), torch.cat([hidden[kept], means.to(hidden.dtype)])
