"""The theorem's left side, measured: what taking back an update, or dropping a token, does to three outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.answer_streams import Read
from analysis.residual_stream.stream import Stream
from analysis.theorem.interventions import remove_token, revert_update

INTERVENTIONS: dict[str, Callable[..., Tensor]] = {"revert": revert_update, "drop": remove_token}
LOGIT_COLUMNS = ("logits", "kl", "answer")
LastStates = Float[Tensor, "layer token dim"]


def measured_columns(
    stream: Stream, layers: Sequence[int], tokens: Int[Tensor, " token"], reads: Sequence[Read]
) -> dict[str, Tensor]:
    """The change of the output y, of the logits and of the answer's log probability, by both interventions.

    Args:
        stream: The residual stream of one prompt.
        layers: Layers l.
        tokens: Positions within the prompt.
        reads: The streams that predict the answer's tokens, and these, the first in `stream`; none gives NaN.

    Returns:
        Columns [layer, token]: revert_impact, revert_logits, revert_kl, revert_answer and the same of drop, as
        `variation_impact` describes them.
    """
    columns = {}
    for name, intervene in INTERVENTIONS.items():
        states = intervene(stream, layers, tokens)
        columns[f"{name}_impact"] = stream.output_change(states).norm(dim=-1)
        changes = _logit_changes(stream, states, reads[0][1] if reads else None)
        for further, token in reads[1:]:
            changes[2] += _logit_changes(further, intervene(further, layers, tokens), token)[2]
        columns |= {f"{name}_{kind}": change for kind, change in zip(LOGIT_COLUMNS, changes, strict=True)}
    return columns


def _logit_changes(stream: Stream, states: LastStates, token: int | None) -> Float[Tensor, "kind layer token"]:
    """For LOGIT_COLUMNS: norm of the change of the logits, KL(plain || changed), log p(token) less the changed one.

    Layer by layer, for the logits of all layers need not fit. The plain prompt is in each batch, so that the roundings
    that a batch brings cancel.
    """
    changes = torch.full((3, *states.shape[:2]), torch.nan, dtype=torch.float64, device=states.device)
    if stream.decoder.lm_head is None:
        return changes
    for layer, changed in enumerate(states):
        logits = stream.decoder.logits(torch.cat([stream.states[-1][-1:], changed])).double()
        logs = logits.log_softmax(-1)
        changes[0, layer] = (logits[1:] - logits[:1]).norm(dim=-1)
        changes[1, layer] = (logs[:1].exp() * (logs[:1] - logs[1:])).sum(-1).clamp_min(0)
        if token is not None:
            changes[2, layer] = logs[0, token] - logs[1:, token]
    return changes
