"""SparseVLM v1.5: drop what text raters attend to least, and recycle the best of it in clusters (arXiv 2410.04417)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Selection
from v2drop.methods.in_llm.text_raters import TextRated
from v2drop.methods.seeded import Seeded
from v2drop.scoring.density_peaks import dpc_knn
from v2drop.scoring.position_trend import divide_trend
from v2drop.sequence.position_ids import Positions
from v2drop.types import Scores


@dataclass(frozen=True)
class SparseVLM(Seeded, TextRated):
    r"""At layer l, token i scores :math:`\operatorname{mean}_{h, r} A_h^{l-1}[r, i]` over heads h and raters r.

    Raters are text tokens (`TextRated`). Of the p tokens that are not kept, the best
    :math:`t = \lfloor 0.3 p \rfloor + 1` are recycled. They are grouped into :math:`c = \lfloor t / 10 \rfloor + 1`
    clusters (`v2drop.scoring.density_peaks`), and each cluster becomes one token, the unweighted mean of its states.
    The schedule's count includes recycled tokens, so fewer tokens are kept, to leave room for c. If c alone exceeds the
    count, nothing is kept and c is the count. If all tokens stay, nothing is recycled.

    Recycled tokens come after the kept tokens of a row's last image, before the text. A recycled token has the position
    of its cluster's centre. If a row has several images with text between them and more tokens are recycled than the
    last image loses, tokens of a later image move into places of an earlier one, because places are filled in order.

    In the paper, the rank of the raters' attention gives the count. The released v1.5, which is followed here, has
    fixed counts per budget. That code runs one prompt with one image at a time and computes full attention maps. It
    counts a layer at the length after its drop, and draws the noise on densities anew each time; here it is seeded.

    Args:
        schedule: drop layers from 1 on.
        full_attention_map: whether the full attention map is computed at the layer before a drop, as in the released
            code; the choice of tokens is the same.
        seed: seed of the noise on densities, which breaks ties between equally dense tokens; an int for all rows, or
            one for each row of the prompt, which `generate` repeats with the rows for beams.
        debias: whether scores are divided by their position trend (arXiv 2508.17807).

    Raises:
        ValueError: the schedule drops at layer 0; the seed is wrong, as in `Seeded`.
    """

    debias: bool = False

    merges_tokens: ClassVar[bool] = True
    positions: Positions | range = field(default="repack", kw_only=True)

    released_schedule: ClassVar[Schedule] = Schedule(
        {3: 309 / 576, 7: 204 / 576, 16: 113 / 576}, label="SparseVLM v1.5, released code's 192, recycled ones included"
    )

    def score(self, candidates: Candidates) -> Scores:
        """Attention weights of the raters, mean over heads and raters."""
        weights, _, rater_weights = self.rater_attention(candidates)
        score = torch.einsum("bhrv,br->bhv", weights, rater_weights).mean(1)
        return divide_trend(score, candidates.vision_index, candidates.valid) if self.debias else score

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """The highest scores, and after them the recycled tokens."""
        if not any(candidates.n_keep):
            return super().choose(candidates, scores)
        noise = self.numbers(candidates)
        keep, orders, states = torch.zeros_like(candidates.valid), [], []
        for row, (n, n_keep) in enumerate(zip(candidates.n_candidates, candidates.n_keep, strict=True)):
            best = scores[row, :n].argsort(descending=True, stable=True)
            places, order, row_states = _select_and_recycle(candidates.hidden[row, :n], best, noise[row, :n], n_keep)
            keep[row, places] = True
            orders.append(order)
            states.append(row_states)
        order = pad_sequence(orders, batch_first=True, padding_value=-1)
        return Selection(keep, candidates.n_keep, order, pad_sequence(states, batch_first=True))


def n_kept_without_recycled(n: int, left: int) -> int:
    """Number of tokens that are kept besides recycled ones.

    It is the largest number with which kept and recycled tokens together are at most `left`; 0 if there is none.

    Args:
        n: number of candidates.
        left: number of tokens left, recycled ones included.

    >>> n_kept_without_recycled(576, 309), n_kept_without_recycled(309, 204), n_kept_without_recycled(204, 113)
    (300, 200, 110)
    """
    if left == n:
        return n
    return next((k for k in range(left, -1, -1) if k + n_recycled(n - k)[1] <= left), 0)


def n_recycled(n_dropped: int) -> tuple[int, int]:
    """Number of dropped tokens that are recycled, and number of clusters they become.

    Args:
        n_dropped: number of tokens that are not kept.

    >>> n_recycled(276), n_recycled(109), n_recycled(94)
    ((83, 9), (33, 4), (29, 3))
    """
    recycled = n_dropped * 3 // 10 + 1
    return recycled, recycled // 10 + 1


def _select_and_recycle(
    hidden: Float[Tensor, "n dim"], best: Int[Tensor, " n"], noise: Float[Tensor, " n"], left: int
) -> tuple[Int[Tensor, " left"], Int[Tensor, " left"], Float[Tensor, "left dim"]]:
    """Kept and recycled tokens of one row.

    Args:
        hidden: hidden states of the candidates.
        best: indices of the candidates by falling score.
        noise: noise on densities.
        left: number of tokens left, recycled ones included.

    Returns:
        Places that survive; index of the candidate at each place, for a recycled token its cluster's centre; states.
    """
    k = n_kept_without_recycled(len(best), left)
    kept, dropped, n_clusters = best[:k].sort().values, best[k:], left - k
    if not n_clusters:
        return kept, kept, hidden[kept]
    recycled = dropped[: n_recycled(len(dropped))[0]].sort().values
    centres, members = dpc_knn(hidden[recycled].detach().float(), n_clusters, noise[recycled])
    means = members @ hidden[recycled].float() / members.sum(1, keepdim=True)
    places = torch.cat([kept, dropped.sort().values[-n_clusters:]])
    return places, torch.cat([kept, recycled[centres]]), torch.cat([hidden[kept], means.to(hidden.dtype)])
