r"""The Variation-Impact Theorem as a table: predicted and measured impact of every token.

To first order, taking back the update :math:`\Delta x_j` that layer l wrote for token j changes the output y by
:math:`J_j \Delta x_j`, and :math:`\|J_j \Delta x_j\| \le \|J_j\|_2 \, \|\Delta x_j\|` (V2Drop, arXiv 2509.01552,
states the two sides as approximately equal).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis.residual_stream.answer_streams import AnswerStreams, Read
from analysis.residual_stream.decoder_inputs import prompt_shape
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import Tokens, check_layers, measured_prompts, token_keys
from analysis.residual_stream.stream import Stream
from analysis.theorem.linearised import Linearised
from analysis.theorem.measured import measured_columns
from analysis.theorem.operator_norms import Estimator
from analysis.theorem.predicted import Vectors, answer_columns, predicted_columns, updates_of_others
from analysis.theorem.taylor import remainder_slopes
from v2drop.arguments import whole_number
from v2drop.models.parts import locate
from v2drop.scoring.variation import METRICS

Labels = Sequence[Sequence[Hashable]]
_SAME_LABEL = ("gain_ratio_same_label", "top_cosine_same_label")


def variation_impact(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Collection[int] | int | None = None,
    tokens: Tokens = None,
    output: str = "hidden",
    estimator: str = "exact",
    *,
    answers: Sequence[Sequence[int]] | None = None,
    labels: Labels | None = None,
    candidates: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    taylor_tokens: int | None = None,
    **settings: Any,
) -> pd.DataFrame:
    r"""Both sides of the theorem, and the impact of dropping, for every token and three outputs.

    y is the output at a row's last prompt token (see `operator_norms`), :math:`\Delta x_j = x_j^{(l+1)} - x_j^{(l)}`
    the update that layer l writes. Columns are in units of y unless said otherwise. The criteria:

    - variation_l1, variation_l2, variation_cosine: the paper's metrics of :math:`\Delta x_j`; units of x, or none.
    - attention_last: attention of the last prompt token to token j in layer l, mean over heads (FastV's score for a
      drop at layer l + 1); NaN for layers without `self_attn`. token_norm: :math:`\|x_j^{(l+1)}\|_2`, units of x.
      random: uniform draws.

    The theorem's right side:

    - operator_norm, operator_norm_lower, operator_norm_upper: :math:`\|J_j\|_2` and its interval. For any unit vector
      v, ||J_j v|| is a lower bound of ||J_j||. Such products are computed anyway, along the directions below. Where
      one exceeds the estimated norm, norm, lower and upper are raised to it, so that first_order_impact never exceeds
      predicted_impact.
    - predicted_impact: operator_norm times variation_l2. With `estimator="shared"` the norm is a lower bound; then
      predicted_impact is one too, and gain_ratio is an upper bound.
    - first_order_impact: :math:`\|J_j \Delta x_j\|`, at most predicted_impact.
    - gain_ratio: first_order_impact / predicted_impact, in [0, 1]: what the update is stretched by, over what the most
      sensitive direction is. top_cosine: |cos| between :math:`\Delta x_j` and that direction, the top right singular
      vector of :math:`J_j`, in [0, 1], at most gain_ratio. NaN where update or Jacobian is zero.
    - gain_ratio_random, _permuted, _same_label, and the same of top_cosine: the nulls, with another direction in place
      of the update: a random one, the update of another measured token, of another with the same label (NaN without).
    - answer_gradient, predicted_answer, first_order_answer: the same for the answer's log probability
      (`analysis.theorem.predicted.answer_columns`); nats, the last with its sign: positive where the update helps.

    The left side, measured, where :math:`x_j^{(l+1)}` is set back to :math:`x_j^{(l)}` (revert_...), and what the
    theorem does not speak of, where token j is removed from layer l + 1 on (drop_...):

    - revert_impact, drop_impact: norm of the change of y.
    - revert_logits, drop_logits: norm of the change of all logits. revert_kl, drop_kl: KL(p || q) in nats of the
      next-token distributions, p of the unchanged model. NaN for a model without a head.
    - revert_answer, drop_answer: log probability (nats) of the right answer in the unchanged model minus that after
      the change: positive where the update, or the token, helps the answer. NaN without `answers`.
    - taylor_slope: slope of the log remainder of the linear model against the log share of the update taken back
      (`analysis.theorem.taylor`). 2 where y is smooth on that scale; NaN where rounding hides the remainder, and for
      tokens that are not measured.

    Args:
        model: A model of a supported family (`v2drop.models.families.FAMILIES`), in evaluation mode; left as it was.
        inputs: The keyword arguments that the model is called with; rows may be padded.
        layers: Decoder layers l, counted from 0; None for all. The last one changes only the last token's output.
        tokens: As for `operator_norms`, but not a row's last token, where the output is read.
        output: "hidden" or "logits", the y of the theorem.
        estimator: The estimator of the operator norms: "exact", "lanczos" or "shared". "exact" has the products with
            all directions in passing, so that "shared" is seldom faster here; a few `candidates` are.
        answers: The token ids of the right answer of every row (`Loaded.answer_ids`). All of an answer's tokens count,
            each behind those before it; each further token costs the revert_... and drop_... runs again.
        labels: What each measured token of every row shows (`analysis.token_labels`), say, in the order of the tokens.
        candidates: Token ids whose logits are the output; None for all.
        dtype: torch.float32 or torch.float64, in which everything is computed.
        taylor_tokens: The number of tokens of a prompt, evenly spaced, that get a taylor_slope; None for all. A slope
            costs as much as eight revert_impacts.
        **settings: Further arguments of `Estimator`. Its `seed` also draws the nulls and the column random.

    Returns:
        One row per (sample, layer, token): these three, label (if labels are given), the columns above,
        norm_estimator, dtype, output.

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
        answer_streams = None if answers is None else AnswerStreams(decoder, model, inputs, answers)
        for sample, stream, positions in measured_prompts(decoder, model, inputs, tokens):
            shown = None if labels is None else _labels(labels, sample, prompt_shape(inputs)[0], len(positions))
            reads = [] if answer_streams is None else answer_streams.reads(sample, stream)
            measured = _prompt_columns(stream, layers, positions, reads, settled, taylor_tokens, shown, sample)
            keys = token_keys(sample, layers, stream, positions)
            frames.append(keys.assign(**({} if shown is None else {"label": shown * len(layers)}), **measured))
    return pd.concat(frames, ignore_index=True).assign(dtype=str(dtype).removeprefix("torch."), output=decoder.label)


def _labels(labels: Any, row: int, n_rows: int, n_tokens: int) -> list[Hashable]:
    """The labels of one row's measured tokens, after a check that there are as many."""
    is_list = isinstance(labels, Collection) and not isinstance(labels, (str, Mapping)) and len(labels) == n_rows
    own = list(labels)[row] if is_list else None
    if not isinstance(own, Collection) or isinstance(own, (str, Mapping)) or len(own) != n_tokens:
        raise ValueError(
            f"labels must be a list for each of {n_rows} rows, with a label for each measured token, {n_tokens} in row "
            f"{row}; got {len(own) if isinstance(own, Collection) else labels!r}."
        )
    return list(own)


@torch.no_grad()
def _prompt_columns(
    stream: Stream,
    layers: list[int],
    tokens: Tensor,
    reads: list[Read],
    estimator: Estimator,
    taylor_tokens: int | None,
    labels: list[Hashable] | None,
    sample: int,
) -> dict[str, np.ndarray]:
    """The columns of one prompt, by layer and then by token."""
    before, after = (torch.stack([stream.states[layer + i][tokens] for layer in layers]) for i in (0, 1))
    update, seed = after - before, [estimator.seed, sample]
    columns = {f"variation_{name}": METRICS[name](before, after) for name in ("l1", "l2", "cosine")}
    uniform, normal = _noise(stream, layers, tokens, seed)
    directions = {"": update, "_random": normal}
    directions["_permuted"] = updates_of_others(update, [0] * len(tokens), [[*seed, layer, 1] for layer in layers])
    if labels is not None:
        directions["_same_label"] = updates_of_others(update, labels, [[*seed, layer, 2] for layer in layers])
    linear = Linearised(stream, layers, estimator.batch_size)
    predicted, names, first_order = predicted_columns(linear, tokens, estimator, directions)
    columns |= predicted | dict.fromkeys(_SAME_LABEL if labels is None else (), torch.full_like(uniform, torch.nan))
    columns |= answer_columns(reads, layers, tokens, update, estimator.batch_size)
    columns |= measured_columns(stream, layers, tokens, reads)
    columns["taylor_slope"] = remainder_slopes(stream, layers, tokens, first_order, taylor_tokens)
    columns["attention_last"] = torch.stack([stream.attention(layer)[0][tokens] for layer in layers])
    columns |= {"token_norm": after.norm(dim=-1), "random": uniform}
    plain = {name: column.double().cpu().flatten().numpy() for name, column in columns.items()}
    return plain | {"norm_estimator": names.flatten()}


def _noise(stream: Stream, layers: list[int], tokens: Tensor, seed: list[int]) -> tuple[Tensor, Vectors]:
    """A uniform draw and a random unit vector for every token, the same whichever layers and tokens are measured."""
    uniform, normal = [], []
    for layer in layers:
        rng = np.random.default_rng([*seed, layer])
        uniform.append(rng.random(stream.length))
        normal.append(rng.normal(size=stream.states[0].shape))
    uniform, normal = (torch.from_numpy(np.stack(drawn)).to(stream.states[0])[:, tokens] for drawn in (uniform, normal))
    return uniform, torch.nn.functional.normalize(normal, dim=-1)
