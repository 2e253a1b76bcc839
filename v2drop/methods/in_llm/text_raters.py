"""`TextRated`, the base class of SparseVLM and SparseVLM+: text tokens rate the image."""

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
    r"""A method that scores by the attention of raters, some of the text tokens, in the layer before.

    Raters are chosen once, from the embeddings, among the text tokens after the last vision token. Text token j is a
    rater if :math:`m_j = \operatorname{mean}_v \operatorname{softmax}_t(h_v \cdot h_t)_j` is above the mean of m over
    the text tokens (v: vision tokens, t: text tokens). If none is, as with a single text token, the last token of the
    prompt is the rater.

    Args:
        schedule: drop layers from 1 on.
        full_attention_map: whether the full attention map is computed at the layer before a drop, as in the released
            code; the choice of tokens is the same.

    Raises:
        ValueError: the schedule drops at layer 0.
    """

    full_attention_map: bool = False

    first_layer: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True  # through the rotation of queries and keys

    def annotate(self, states: States, vision: Flags, text_after: Flags) -> Flags:
        """Flags of the columns of raters.

        Args:
            states: hidden states that enter layer 0.
            vision: flags of the columns that may be dropped.
            text_after: flags of the text after a row's last vision token.
        """
        n_vision, n_text = torch.stack([vision.sum(1), text_after.sum(1)]).amax(1).tolist()
        (images, valid), (text, valid_text) = padded_columns(vision, n_vision), padded_columns(text_after, n_text)
        similarity = torch.einsum(
            "bvd,btd->bvt", gather_columns(states, images).float(), gather_columns(states, text).float()
        )
        softmax = similarity.masked_fill(~valid_text[:, None], -torch.inf).softmax(-1)
        mean = (softmax * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
        is_rater = valid_text & (mean > mean.sum(1, keepdim=True) / valid_text.sum(1, keepdim=True))
        is_last = torch.arange(n_text, device=text.device) == valid_text.sum(1, keepdim=True) - 1
        raters = torch.where(is_rater.any(1, keepdim=True), is_rater, is_last)
        return torch.zeros_like(text_after).scatter(1, text, raters)

    def rater_attention(self, candidates: Candidates) -> tuple[Attention, Queries, Float[Tensor, "batch queries"]]:
        """Attention of the raters in the layer before.

        Returns:
            Three tensors: attention weights of the raters on the candidates, [batch, heads, raters, vision]; columns of
            the raters, [batch, raters]; weight of each rater in the mean over raters, 1 / (number of the row's raters),
            0 in padding, [batch, raters].
        """
        sequence = candidates.sequence
        raters, valid = padded_columns(sequence.annotation, int(sequence.annotation.sum(1).max()))
        weights = sequence.hooks.projected.weights(raters, sequence.visible, self.full_attention_map)
        return at_columns(weights, sequence.columns), raters, valid / valid.sum(1, keepdim=True)
