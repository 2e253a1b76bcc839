"""What SparseVLM and SparseVLM+ have in common: the text tokens that rate the picture."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from v2drop.engine.contract import Candidates
from v2drop.methods.base import Method
from v2drop.scoring.attention import at_columns
from v2drop.scoring.selection import gather_columns, padded_columns
from v2drop.types import Attention, Flags, Queries, States


@dataclass(frozen=True)
class TextRated(Method):
    r"""A method that scores by the attention of raters in the layer before.

    Raters are chosen once, among all tokens behind the picture and from embeddings alone: text token j is one if
    :math:`m_j = \operatorname{mean}_v \operatorname{softmax}_t(h_v \cdot h_t)_j` is above the mean of m. Where none
    is, as with a single text token, the last token of the prompt rates.

    Args:
        schedule: from layer 1 on.
        full_attention_map: compute the full attention map at the layer before a drop, as the released code does; the same
            tokens are kept.

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    full_attention_map: bool = False

    first_layer: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys

    def annotate(self, states: States, vision: Flags, text_after: Flags) -> Flags:
        """Which columns rate."""
        n_vision, n_text = torch.stack([vision.sum(1), text_after.sum(1)]).amax(1).tolist()
        (pictures, real), (text, there) = padded_columns(vision, n_vision), padded_columns(text_after, n_text)
        likeness = torch.einsum(
            "bvd,btd->bvt", gather_columns(states, pictures).float(), gather_columns(states, text).float()
        )
        shares = likeness.masked_fill(~there[:, None], -torch.inf).softmax(-1)
        share = (shares * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        rates = there & (share > share.sum(1, keepdim=True) / there.sum(1, keepdim=True))
        last = torch.arange(n_text, device=text.device) == there.sum(1, keepdim=True) - 1
        return torch.zeros_like(text_after).scatter(1, text, torch.where(rates.any(1, keepdim=True), rates, last))

    def rater_attention(self, candidates: Candidates) -> tuple[Attention, Queries, Float[Tensor, "batch queries"]]:
        """Weights of raters on the candidates, the raters' columns, and each one's part in their mean, 0 in padding."""
        sequence = candidates.sequence
        raters, there = padded_columns(sequence.annotation, int(sequence.annotation.sum(1).max()))
        weights = sequence.hooks.projected.weights(raters, sequence.visible, self.full_attention_map)
        return at_columns(weights, sequence.columns), raters, there / there.sum(1, keepdim=True)
