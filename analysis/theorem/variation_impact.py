r"""The Variation-Impact Theorem as a table: what it predicts for each token, and what happens.

To first order, taking back the update :math:`\Delta x_j` that layer l wrote for token j changes the output y by
:math:`J_j \Delta x_j`, and :math:`\|J_j \Delta x_j\| \le \|J_j\|_2 \, \|\Delta x_j\|` (V2Drop, arXiv 2509.01552,
states the two sides as approximately equal).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.stream import Stream
from analysis.residual_stream.token_choice import Tokens, check_layers, measured_prompts, token_keys
from analysis.theorem.interventions import remove_token, revert_update
from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms, exact, jacobians
from analysis.theorem.operator_norms import Estimator
from analysis.theorem.taylor import remainder_slopes
from v2drop.models import locate
from v2drop.variation import METRICS


def variation_impact(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Iterable[int] | int | None = None,
    tokens: Tokens = None,
    output: str = "hidden",
    method: str = "exact",
    *,
    candidates: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    taylor_tokens: int | None = None,
    **settings: Any,
) -> pd.DataFrame:
    r"""Both sides of the theorem, and what dropping does, for every token.

    With y the output at a row's last prompt token (`operator_norms`), :math:`\Delta x_j = x_j^{(l+1)} - x_j^{(l)}`
    what layer l changes, and everything in the units of y unless said otherwise:

    - variation_l1, variation_l2, variation_cosine: the paper's metrics of :math:`\Delta x_j`; units of x, or none.
    - operator_norm, operator_norm_lower, operator_norm_upper: :math:`\|J_j\|_2` and its interval. By how much J_j
      stretches :math:`\Delta x_j` or a random direction bounds it from below as well and is used where that is more.
    - predicted_impact: operator_norm times variation_l2, the theorem's right side. With `method="shared"` the norm is
      a lower bound, so this is as well, and alignment is from above.
    - first_order_impact: :math:`\|J_j \Delta x_j\|`, never above predicted_impact.
    - alignment: their ratio, in [0, 1]; NaN where both are zero. alignment_random: that of a random direction in place
      of :math:`\Delta x_j`, the null.
    - revert_impact: the theorem's left side, measured: y's change when :math:`x_j^{(l+1)}` is put back to
      :math:`x_j^{(l)}`.
    - drop_impact, drop_kl: y's change when token j is not there from layer l + 1 on, and KL(p || q) in nats of the
      next-token distributions, p of the model as it is and q without the token.
    - taylor_slope: of log remainder of the linear model against log share of the update taken back (`taylor.slopes`);
      2 where y is smooth on that scale, NaN where rounding hides the remainder or it was not asked for.
    - attention_last: attention of the last prompt token to token j in layer l, mean over heads (FastV's score of a
      drop at layer l + 1); NaN for layers without `self_attn`.
    - token_norm: :math:`\|x_j^{(l+1)}\|_2`, units of x; random: uniform draws.

    Args:
        model: of a supported family (`v2drop.models.FAMILIES`), in evaluation mode; left as it was.
        inputs: as the model is called with; rows may be padded.
        layers: l, decoder layers from 0; all by default. The last one changes nothing but the last token's output.
        tokens: as for `operator_norms`; not a row's last one, where the output is read.
        output: "hidden" or "logits".
        method: of the operator norms: "exact", "lanczos" or "shared".
        candidates: token ids, for the logits of these only.
        dtype: torch.float32 or torch.float64; all is computed in it.
        taylor_tokens: at most so many tokens of a prompt, evenly spaced, get a taylor_slope, each of which costs eight
            times a revert_impact; None: all.
        **settings: of `Estimator`; `seed` is that of the columns random and alignment_random, too.

    Returns:
        One row per (sample, layer, token): these three, the columns above, method, dtype, output.

    Raises:
        ValueError: an argument is not one of those above, or the model is not supported or inside a dropping `with`.
    """
    estimator = Estimator(method, **settings)
    layers = check_layers(model, range(len(locate(model).layers)) if layers is None else layers)
    if taylor_tokens is not None and taylor_tokens < 0:
        raise ValueError(f"taylor_tokens must be None (all tokens) or a number from 0 on; got {taylor_tokens}.")
    frames = []
    with differentiable_attention(model):
        network = FrozenDecoder(model, dtype, output, candidates)
        for sample, stream, places in measured_prompts(network, model, inputs, tokens):
            noise = _noise(stream, layers, places, [estimator.seed, sample])
            columns, used = _prompt_columns(stream, layers, places, estimator, taylor_tokens, noise)
            values = {name: value.double().cpu().flatten().numpy() for name, value in columns.items()}
            frames.append(token_keys(sample, layers, stream, places).assign(**values, method=used.flatten()))
    return pd.concat(frames, ignore_index=True).assign(dtype=str(dtype).removeprefix("torch."), output=network.label)


def _noise(
    stream: Stream, layers: list[int], tokens: Tensor, seed: list[int]
) -> Float[Tensor, "layer token one_and_dim"]:
    """A uniform draw, then a random direction, for every token; drawn alike whatever else is measured."""
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
    """Every measured column, [layer, token], and the method behind each norm."""
    before, after = (torch.stack([stream.states[layer + i][tokens] for layer in layers]) for i in (0, 1))
    found = {f"variation_{name}": METRICS[name](before, after) for name in ("l1", "l2", "cosine")}
    moves = (after - before, noise[..., 1:])
    (norms, used), (first_order, at_random) = _predicted(stream, layers, tokens, estimator, moves)
    found |= _theorem(norms, first_order.norm(dim=-1), found["variation_l2"], at_random.norm(dim=-1))
    found |= _measured(stream, layers, tokens)
    found["taylor_slope"] = remainder_slopes(stream, layers, tokens, first_order, taylor_tokens)
    attention = [stream.attention(layer)[0] for layer in layers]
    found["attention_last"] = torch.stack([weights[tokens] for weights in attention])
    return found | {"token_norm": after.norm(dim=-1), "random": noise[..., 0]}, used


def _predicted(
    stream: Stream, layers: list[int], tokens: Tensor, estimator: Estimator, moves: Sequence[Tensor]
) -> tuple[tuple[Norms, np.ndarray], list[Float[Tensor, "layer token out"]]]:
    """Norms, and J_j v_j for every v of `moves`: by the dense J_j where they are there, one JVP a token where not."""
    linear = Linearised(stream, layers, estimator.chunk)
    if estimator.method == "exact":
        jacobian = jacobians(linear, tokens)
        used = np.full(jacobian.shape[:2], "exact", dtype=object)
        return (exact(jacobian), used), [torch.einsum("ltod,ltd->lto", jacobian, move) for move in moves]
    moved: list[list[Tensor]] = [[] for _ in moves]
    for row, layer in enumerate(layers):
        one = Linearised(stream, [layer], estimator.chunk)
        for out, move in zip(moved, moves, strict=True):
            out.append(one.push_each(move[row], tokens))
    return estimator.norms(linear, tokens), [torch.stack(out) for out in moved]


def _theorem(norms: Norms, first_order: Tensor, variation: Tensor, at_random: Tensor) -> dict[str, Tensor]:
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
    reverted, dropped = revert_update(stream, layers, tokens), remove_token(stream, layers, tokens)
    found = {"revert_impact": stream.change(reverted).norm(dim=-1), "drop_impact": stream.change(dropped).norm(dim=-1)}
    if stream.network.head is None:
        return found | {"drop_kl": torch.full_like(found["drop_impact"], torch.nan)}
    states = torch.cat([stream.states[-1][-1:], dropped.flatten(0, 1)])
    plain, without = stream.network.logits(states).double().log_softmax(-1).split([1, len(states) - 1])
    divergence = (plain.exp() * (plain - without)).sum(-1).clamp_min(0)
    return found | {"drop_kl": divergence.view(dropped.shape[:2])}
