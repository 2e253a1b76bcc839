"""SparseVLM+, also v2.0: raters' attention with rotation's own preference divided out (code of arXiv 2410.04417)."""

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.in_llm.text_raters import TextRated
from v2drop.scoring.attention import QueriesAndKeys, apply_rotary
from v2drop.scoring.selection import gather_columns
from v2drop.types import Indices, Queries, Scores


@dataclass(frozen=True)
class SparseVLMPlus(TextRated):
    r"""Token i scores :math:`\operatorname{mean}_{h, r} A_h^{l-1}[r, i] / B[r, i]` at layer l, in heads that rate most.

    B is the logit of a query and a key of ones, rotated at their position ids: :math:`\frac{2}{\sqrt d} \sum_k
    \cos(\theta_k (r - i))` for heads of d dimensions. Heads are those with the largest sum over raters (`Rated`) and
    candidates of a row. Nothing is recycled.

    B may be negative, which turns the order of the tokens there round; this is followed as released, where there is no
    paper of its own. That code runs one prompt with one picture at a time, through an attention of its own that
    computes whole maps, and always takes 14 heads, half of those of a 28-head model, whatever the model has.

    Args:
        schedule: from layer 1 on.
        full_attention_map: compute the full attention map at the layer before a drop, as the released code does.
        heads: how many rate; all of them if the model has fewer.

    Raises:
        ValueError: the schedule drops at layer 0, or `heads` is no int from 1 on.
    """

    heads: int = 14

    released_schedule: ClassVar[Schedule] = Schedule(
        {3: 300 / 576, 7: 200 / 576, 16: 118 / 576}, label="SparseVLM+, released code's 192"
    )

    def __post_init__(self) -> None:
        """Check the heads too."""
        super().__post_init__()
        if not isinstance(self.heads, Integral) or isinstance(self.heads, bool) or self.heads < 1:
            raise ValueError(f"heads must be an int of 1 or more; got {self.heads!r}.")

    def score(self, candidates: Candidates) -> Scores:
        """Mean over the heads that rate most, and over raters."""
        sequence = candidates.sequence
        weights, raters, part = self.rater_attention(candidates)
        weights = weights / rotary_prior(sequence.hooks.projected, raters, sequence.columns)[:, None]
        by_head = torch.einsum("bhrv,br->bhv", weights, part)
        total = (by_head * candidates.valid[:, None]).sum(2)
        best = total.argsort(dim=1, descending=True, stable=True)[:, : self.heads]
        return by_head.gather(1, best[..., None].expand(-1, -1, by_head.shape[2])).mean(1)


def rotary_prior(projected: QueriesAndKeys, queries: Queries, keys: Indices) -> Float[Tensor, "batch queries vision"]:
    """Logits of queries and keys of ones, by the rotation at their columns alone."""
    cos, sin = (x.float() for x in projected.angles)
    ones = apply_rotary(torch.ones_like(cos), cos, sin)
    return torch.einsum("bqd,bkd->bqk", gather_columns(ones, queries), gather_columns(ones, keys)) * projected.scaling
