"""The theorem's right side: norms of Jacobians, first-order impacts, and how updates lie to the sensitive direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.answer_streams import Read
from analysis.residual_stream.stream import Stream
from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms
from analysis.theorem.operator_norms import Estimator

Vectors = Float[Tensor, "layer token any"]


def updates_of_others(update: Vectors, groups: Sequence[object], seeds: Sequence[Sequence[int]]) -> Vectors:
    """Every token's update replaced by that of another token of its group: the null that permutes vectors.

    In each layer and group the tokens stand on a circle in random order, and each gets the next one's update: none
    gets its own. NaN for tokens that are alone in their group.

    Args:
        update: The updates.
        groups: The group of each token.
        seeds: Numbers that decide the order in each layer.
    """
    partners = np.full(update.shape[:2], -1)
    members = {group: np.flatnonzero([each == group for each in groups]) for group in dict.fromkeys(groups)}
    for row, seed in zip(partners, seeds, strict=True):
        rng = np.random.default_rng(seed)
        for tokens in members.values():
            order = rng.permutation(tokens)
            row[order] = np.roll(order, 1) if len(order) > 1 else -1
    index = torch.from_numpy(partners).to(update.device)
    others = update.gather(1, index.clamp_min(0)[..., None].expand_as(update))
    return torch.where(index[..., None] < 0, torch.nan, others)


def predicted_columns(
    linear: Linearised, tokens: Int[Tensor, " token"], estimator: Estimator, directions: Mapping[str, Vectors]
) -> tuple[dict[str, Tensor], np.ndarray, Float[Tensor, "layer token out"]]:
    r"""Norms, the bound, the first-order impact, and two alignments of each kind of direction.

    Args:
        linear: The linearised stream of one prompt.
        tokens: Positions within the prompt.
        estimator: The estimator of the norms.
        directions: Vectors by the suffix of their columns; the updates themselves have the suffix "".

    Returns:
        Three values: the columns [layer, token], float64 (see `variation_impact`); the name of the estimator behind
        each norm; :math:`J_j \Delta x_j`.
    """
    norms, names, products = estimator.norms_and_products(linear, tokens, list(directions.values()))
    lengths = [_float64(vectors.norm(dim=-1)) for vectors in directions.values()]
    stretched = [_float64(product.norm(dim=-1)) for product in products]
    least = [torch.nan_to_num(long / short) for long, short in zip(stretched, lengths, strict=True)]  # 0 / 0 says 0
    least = torch.stack(least).amax(0)
    norm, lower, upper = (bound.maximum(least) for bound in (norms.norm, norms.lower, norms.upper))
    columns = {"operator_norm": norm, "operator_norm_lower": lower, "operator_norm_upper": upper}
    columns["predicted_impact"] = (norm * lengths[0]).maximum(stretched[0])  # equal but for rounding
    columns["first_order_impact"] = stretched[0]
    for suffix, long, short in zip(directions, stretched, lengths, strict=True):
        columns[f"gain_ratio{suffix}"] = long / (norm * short).maximum(long)
    for (suffix, vectors), short in zip(directions.items(), lengths, strict=True):
        columns[f"top_cosine{suffix}"] = _top_cosine(norms, vectors, short)
    return columns, names, products[0]


def _top_cosine(norms: Norms, vectors: Vectors, lengths: Tensor) -> Tensor:
    along = _float64((norms.top_direction * vectors).sum(-1).abs())
    return (along / lengths).clamp_max(1)


def _float64(x: Tensor) -> Tensor:
    return x.double().cpu()


def answer_columns(
    reads: Sequence[Read], layers: Sequence[int], tokens: Int[Tensor, " token"], update: Vectors, batch_size: int
) -> dict[str, Tensor]:
    r"""The theorem's right side for a scalar output, the log probability of the answer: one VJP for each of its tokens.

    Args:
        reads: The streams that predict the answer's tokens, and these; none gives NaN.
        layers: Layers l, ascending.
        tokens: Positions within the prompt.
        update: The updates of the layers.
        batch_size: As for `Linearised`.

    Returns:
        Columns [layer, token], float64: answer_gradient, the norm of g, the gradient of log p by
        :math:`x_j^{(l+1)}`; predicted_answer, its product with :math:`\lVert \Delta x_j \rVert`; first_order_answer,
        :math:`g^\top \Delta x_j`, with its sign.
    """
    names = ("answer_gradient", "predicted_answer", "first_order_answer")
    if not reads:
        return dict.fromkeys(names, torch.full(update.shape[:2], torch.nan, dtype=torch.float64))
    gradient = torch.stack([_answer_gradient(*read, layers, tokens, batch_size) for read in reads]).sum(0)
    norm, first_order = _float64(gradient.norm(dim=-1)), _float64((gradient * update).sum(-1))
    bound = (norm * _float64(update.norm(dim=-1))).maximum(first_order.abs())
    return dict(zip(names, (norm, bound, first_order), strict=True))


def _answer_gradient(stream: Stream, token: int, layers: Sequence[int], tokens: Tensor, batch_size: int) -> Tensor:
    def read(states: Tensor) -> Tensor:
        return stream.decoder.log_probability(states[:, -1], token)[:, None]

    linear = Linearised(stream, layers, batch_size, read)
    return linear.vjp_all(linear.output.new_ones(1, 1), tokens)[:, :, 0]
