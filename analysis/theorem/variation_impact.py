r"""The Variation-Impact Theorem as a table: predicted and measured impact of every token.

To first order, taking back the update :math:`\Delta x_j` that layer l wrote for token j changes the output y by
:math:`J_j \Delta x_j`, and :math:`\|J_j \Delta x_j\| \le \|J_j\|_2 \, \|\Delta x_j\|` (V2Drop, arXiv 2509.01552,
states the two sides as approximately equal).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import Tokens, check_layers, measured_prompts, token_keys
from analysis.residual_stream.stream import Stream
from analysis.theorem.interventions import remove_token, revert_update
from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms
from analysis.theorem.operator_norms import Estimator
from analysis.theorem.taylor import remainder_slopes
from v2drop.arguments import whole_number
from v2drop.models.parts import locate
from v2drop.scoring.variation import METRICS


def variation_impact(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Collection[int] | int | None = None,
    tokens: Tokens = None,
    output: str = "hidden",
    estimator: str = "exact",
    *,
    candidates: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    taylor_tokens: int | None = None,
    **settings: Any,
) -> pd.DataFrame:
    r"""Both sides of the theorem, and the impact of dropping, for every token.

    y is the output at a row's last prompt token (see `operator_norms`), :math:`\Delta x_j = x_j^{(l+1)} - x_j^{(l)}`
    the update that layer l writes. Columns are in units of y unless said otherwise:

    - variation_l1, variation_l2, variation_cosine: the paper's metrics of :math:`\Delta x_j`; units of x, or none.
    - operator_norm, operator_norm_lower, operator_norm_upper: :math:`\|J_j\|_2` and its interval. For any unit vector
      v, ||J_j v|| is a lower bound of ||J_j||. Two such products are computed anyway (v along :math:`\Delta x_j`, and
      a random v). Where one of them exceeds the estimated norm, norm, lower and upper are raised to it, so that
      first_order_impact never exceeds predicted_impact.
    - predicted_impact: operator_norm times variation_l2, the theorem's right side. With `estimator="shared"` the norm
      is a lower bound; then predicted_impact is one too, and alignment is an upper bound.
    - first_order_impact: :math:`\|J_j \Delta x_j\|`, at most predicted_impact.
    - alignment: first_order_impact / predicted_impact, in [0, 1]; NaN where both are zero. alignment_random: the same
      for a random direction in place of :math:`\Delta x_j`, the null.
    - revert_impact: the theorem's left side, measured: the change of y when :math:`x_j^{(l+1)}` is set back to
      :math:`x_j^{(l)}`.
    - drop_impact, drop_kl: the change of y when token j is removed from layer l + 1 on; KL(p || q) in nats of the
      next-token distributions, p of the unchanged model, q without the token.
    - taylor_slope: slope of the log remainder of the linear model against the log share of the update taken back
      (`analysis.theorem.taylor`). 2 where y is smooth on that scale; NaN where rounding hides the remainder, and for
      tokens that are not measured.
    - attention_last: attention of the last prompt token to token j in layer l, mean over heads (FastV's score for a
      drop at layer l + 1); NaN for layers without `self_attn`.
    - token_norm: :math:`\|x_j^{(l+1)}\|_2`, units of x. random: uniform draws.

    Args:
        model: A model of a supported family (`v2drop.models.families.FAMILIES`), in evaluation mode; left as it was.
        inputs: The keyword arguments that the model is called with; rows may be padded.
        layers: Decoder layers l, counted from 0; None for all. The last one changes only the last token's output.
        tokens: As for `operator_norms`, but not a row's last token, where the output is read.
        output: "hidden" or "logits".
        estimator: The estimator of the operator norms: "exact", "lanczos" or "shared".
        candidates: Token ids whose logits are the output; None for all.
        dtype: torch.float32 or torch.float64, in which everything is computed.
        taylor_tokens: The number of tokens of a prompt, evenly spaced, that get a taylor_slope; None for all. A slope
            costs as much as eight revert_impacts.
        **settings: Further arguments of `Estimator`. Its `seed` also draws the columns random and alignment_random.

    Returns:
        One row per (sample, layer, token): these three, the columns above, norm_estimator, dtype, output.

    Raises:
        ValueError: An argument is none of those above, the model is not supported or is inside a dropping `with`, or
            its weights are quantised in a way that cannot be taken back exactly.
    """
    settled = Estimator(estimator, **settings)
    layers = check_layers(model, range(len(locate(model).layers)) if layers is None else layers)
    taylor_tokens = None if taylor_tokens is None else whole_number("taylor_tokens", taylor_tokens, 0)
    frames = []
    with differentiable_attention(model):
        decoder = FrozenDecoder(model, dtype, output, candidates)
        for sample, stream, positions in measured_prompts(decoder, model, inputs, tokens):
            noise = _noise(stream, layers, positions, [settled.seed, sample])
            columns, names = _prompt_columns(stream, layers, positions, settled, taylor_tokens, noise)
            values = {name: value.double().cpu().flatten().numpy() for name, value in columns.items()}
            keys = token_keys(sample, layers, stream, positions)
            frames.append(keys.assign(**values, norm_estimator=names.flatten()))
    return pd.concat(frames, ignore_index=True).assign(dtype=str(dtype).removeprefix("torch."), output=decoder.label)


def _noise(
    stream: Stream, layers: list[int], tokens: Tensor, seed: list[int]
) -> Float[Tensor, "layer token one_and_dim"]:
    """A uniform draw and a random direction for every token, the same whichever layers and tokens are measured."""
    drawn = []
    for layer in layers:
        rng = np.random.default_rng([*seed, layer])
        uniform, normal = rng.random((stream.length, 1)), rng.normal(size=stream.states[0].shape)
        drawn.append(np.concatenate([uniform, normal / np.linalg.norm(normal, axis=1, keepdims=True)], 1))
    return torch.from_numpy(np.stack(drawn)).to(stream.states[0])[:, tokens]


@torch.no_grad()
def _prompt_columns(
    stream: Stream,
    layers: list[int],
    tokens: Tensor,
    estimator: Estimator,
    taylor_tokens: int | None,
    noise: Float[Tensor, "layer token one_and_dim"],
) -> tuple[dict[str, Tensor], np.ndarray]:
    """The columns of one prompt, [layer, token], and the name of the estimator behind each norm."""
    before, after = (torch.stack([stream.states[layer + i][tokens] for layer in layers]) for i in (0, 1))
    columns = {f"variation_{name}": METRICS[name](before, after) for name in ("l1", "l2", "cosine")}
    linear, directions = Linearised(stream, layers, estimator.batch_size), (after - before, noise[..., 1:])
    norms, names, (first_order, at_random) = estimator.norms_and_products(linear, tokens, directions)
    columns |= _theorem(norms, first_order.norm(dim=-1), columns["variation_l2"], at_random.norm(dim=-1))
    columns |= _measured(stream, layers, tokens)
    columns["taylor_slope"] = remainder_slopes(stream, layers, tokens, first_order, taylor_tokens)
    attention = [stream.attention(layer)[0] for layer in layers]
    columns["attention_last"] = torch.stack([weights[tokens] for weights in attention])
    return columns | {"token_norm": after.norm(dim=-1), "random": noise[..., 0]}, names


def _theorem(norms: Norms, first_order: Tensor, variation: Tensor, at_random: Tensor) -> dict[str, Tensor]:
    """The theorem's right side, from norms and two products each of which bounds its norm from below."""
    first_order, variation, at_random = (x.double().cpu() for x in (first_order, variation, at_random))
    least = torch.where(variation > 0, first_order / variation, 0).maximum(at_random)
    norm, lower, upper = (bound.maximum(least) for bound in (norms.norm, norms.lower, norms.upper))
    predicted = (norm * variation).maximum(first_order)  # equal but for rounding where `least` was taken
    return {
        "operator_norm": norm,
        "operator_norm_lower": lower,
        "operator_norm_upper": upper,
        "predicted_impact": predicted,
        "first_order_impact": first_order,
        "alignment": first_order / predicted,
        "alignment_random": at_random / norm,
    }


def _measured(stream: Stream, layers: list[int], tokens: Tensor) -> dict[str, Tensor]:
    """The theorem's left side, and the impact of removing each token."""
    reverted, dropped = revert_update(stream, layers, tokens), remove_token(stream, layers, tokens)
    impacts = {"revert_impact": reverted, "drop_impact": dropped}
    impacts = {name: stream.output_change(states).norm(dim=-1) for name, states in impacts.items()}
    if stream.decoder.lm_head is None:
        return impacts | {"drop_kl": torch.full_like(impacts["drop_impact"], torch.nan)}
    states = torch.cat([stream.states[-1][-1:], dropped.flatten(0, 1)])
    plain, without = stream.decoder.logits(states).double().log_softmax(-1).split([1, len(states) - 1])
    divergence = (plain.exp() * (plain - without)).sum(-1).clamp_min(0)
    return impacts | {"drop_kl": divergence.view(dropped.shape[:2])}
