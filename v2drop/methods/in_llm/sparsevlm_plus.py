"""SparseVLM+, also v2.0: attention of text raters divided by a rotary prior (code of arXiv 2410.04417)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from v2drop.arguments import whole_number
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates
from v2drop.methods.in_llm.text_raters import TextRated
from v2drop.scoring.attention import QueriesAndKeys, apply_rotary
from v2drop.scoring.selection import gather_columns
from v2drop.types import Indices, Queries, Scores


@dataclass(frozen=True)
class SparseVLMPlus(TextRated):
    r"""At layer l, token i scores :math:`\operatorname{mean}_{h, r} A_h^{l-1}[r, i] / B[r, i]` over raters r.

    Raters are text tokens (`TextRated`). B, the rotary prior, is the logit of an all-ones query and an all-ones key
    after rotary position embedding: :math:`\frac{2}{\sqrt d} \sum_k \cos(\theta_k (r - i))` for heads of d dimensions.
    The mean is over the `heads` heads with the largest total over raters and candidates of a row. Nothing is recycled.

    B may be negative, which reverses the order of the tokens there. This follows the released code; no paper describes
    it. That code runs one prompt with one image at a time and computes full attention maps. It always takes 14 heads,
    half of a 28-head model, whatever the model has.

    Args:
        schedule: drop layers from 1 on.
        full_attention_map: whether the full attention map is computed at the layer before a drop, as in the released
            code; the choice of tokens is the same.
        heads: number of heads in the mean; all heads if the model has fewer.

    Raises:
        ValueError: the schedule drops at layer 0, or `heads` is not an int of 1 or more.
    """

    heads: int = 14

    released_schedule: ClassVar[Schedule] = Schedule(
        {3: 300 / 576, 7: 200 / 576, 16: 118 / 576}, label="SparseVLM+, released code's 192"
    )

    def __post_init__(self) -> None:
        """Check the heads too."""
        super().__post_init__()
        self._set("heads", whole_number("heads", self.heads, 1))

    def score(self, candidates: Candidates) -> Scores:
        """Attention weights of the raters divided by the prior, mean over raters and the chosen heads."""
        sequence = candidates.sequence
        weights, raters, rater_weights = self.rater_attention(candidates)
        weights = weights / rotary_prior(sequence.hooks.projected, raters, sequence.columns)[:, None]
        by_head = torch.einsum("bhrv,br->bhv", weights, rater_weights)
        total = (by_head * candidates.valid[:, None]).sum(2)
        best = total.argsort(dim=1, descending=True, stable=True)[:, : self.heads]
        return by_head.gather(1, best[..., None].expand(-1, -1, by_head.shape[2])).mean(1)


def rotary_prior(projected: QueriesAndKeys, queries: Queries, keys: Indices) -> Float[Tensor, "batch queries vision"]:
    """Attention logits of all-ones queries and keys after rotary position embedding, float32.

    Args:
        projected: queries and keys of the layer; only its rotary angles and its scaling are used.
        queries: columns of the queries.
        keys: columns of the keys.
    """
    cos, sin = (x.float() for x in projected.angles)
    ones = apply_rotary(torch.ones_like(cos), cos, sin)
    return torch.einsum("bqd,bkd->bqk", gather_columns(ones, queries), gather_columns(ones, keys)) * projected.scaling
