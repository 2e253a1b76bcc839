r"""What a token is worth alone: all other vision tokens are removed, and the answer's probability is read.

:math:`I_l(k) = p(answer \mid k \text{ alone from layer } l \text{ on}) - p(answer \mid \text{none})`; the layer from
which all of them are about zero is the information horizon (arXiv 2512.07580). It is another question than that of
`drop_impact`, which removes one token and leaves all others: what many tokens say, each of them can say alone, and the
loss of one of them costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from analysis.residual_stream.answer_streams import AnswerStreams, Read
from analysis.residual_stream.frozen_decoder import FrozenDecoder
from analysis.residual_stream.measured_tokens import Tokens, check_layers, measured_prompts, token_keys
from analysis.statistics.frames import checked
from analysis.statistics.intervals import mean_by_group
from analysis.theorem.interventions import keep_alone
from v2drop.arguments import number
from v2drop.models.parts import locate


@torch.no_grad()
def alone_impact(
    model: nn.Module,
    inputs: Mapping[str, Any],
    answers: Sequence[Sequence[int]],
    layers: Collection[int] | int | None = None,
    tokens: Tokens = None,
    batch_size: int = 16,
) -> pd.DataFrame:
    """The change of the answer's probability when, of all vision tokens, one is left from a layer on.

    Cost: a run of the layers behind l, on the text and one token, for every token and layer.

    Args:
        model: A model of a supported family.
        inputs: The keyword arguments that the model is called with.
        answers: The token ids of the right answer of every row (`Loaded.answer_ids`).
        layers: Layers l, behind which all but one are removed; None for all.
        tokens: The tokens that are left alone, and removed; as for `variation_impact`.
        batch_size: The number of tokens that run at once.

    Returns:
        One row per prompt, layer and token: sample, layer, token, vision_index as in `variation_impact`, alone_impact
        (a difference of probabilities, from -1 to 1), none_probability (of the answer, with none of the tokens left),
        all_probability (with all).

    Raises:
        ValueError: As for `variation_impact`.
    """
    layers = check_layers(model, range(len(locate(model).layers)) if layers is None else layers)
    decoder, frames = FrozenDecoder(model, torch.float32, "logits"), []
    streams = AnswerStreams(decoder, model, inputs, answers)
    for sample, stream, positions in measured_prompts(decoder, model, inputs, tokens):
        reads = streams.reads(sample, stream)
        alone = _probability(reads, layers, positions, positions, batch_size)
        # A token that stays anyway stands for none: the position where the answer is read.
        none = _probability(reads, layers, positions[:0].new_tensor([stream.length - 1]), positions, 1)
        told = {
            "alone_impact": (alone - none).flatten().cpu().numpy(),
            "none_probability": none.expand_as(alone).flatten().cpu().numpy(),
            "all_probability": float(_plain(reads)),
        }
        frames.append(token_keys(sample, layers, stream, positions).assign(**told))
    return pd.concat(frames, ignore_index=True)


def information_horizon(frame: pd.DataFrame, tolerance: float = 0.01) -> pd.DataFrame:
    """By layer, how much any token is worth alone, and whether from there on none is worth anything.

    Args:
        frame: The frame of `alone_impact`.
        tolerance: The probability below which a token is worth nothing.

    Returns:
        One row per layer: layer, mean (over prompts, of the largest absolute alone_impact), low, high, n, behind
        (whether `high` is below the tolerance here and in all later layers: behind the information horizon).

    Raises:
        ValueError: A column is missing, or `tolerance` is no number from 0 to 1.
    """
    tolerance = number("tolerance", tolerance, 0, 1)
    keys = {"sample": "label", "layer": "counted", "token": "counted"}
    frame = checked(frame, "frame", keys | {"alone_impact": "number"}, list(keys))
    largest = frame.assign(size=frame.alone_impact.abs()).groupby(["layer", "sample"])["size"].max().reset_index()
    found = mean_by_group(largest, ["layer"], "size", ["sample"]).sort_values("layer", ignore_index=True)
    small = found.high.fillna(found["mean"]) < tolerance
    return found.assign(behind=small[::-1].cummin()[::-1])


def _probability(reads: list[Read], layers: list[int], tokens: Tensor, others: Tensor, batch_size: int) -> Tensor:
    """The probability of the answer with only one of the tokens left, [layer, token], float64."""
    logs = []
    for stream, answer in reads:
        states = keep_alone(stream, layers, tokens, others, batch_size)
        logs.append(stream.decoder.logits(states.flatten(0, 1)).double().log_softmax(-1)[:, answer])
    return torch.stack(logs).sum(0).exp().unflatten(0, (len(layers), -1))


def _plain(reads: list[Read]) -> Tensor:
    logs = [stream.decoder.logits(stream.states[-1][-1:]).double().log_softmax(-1)[0, id_] for stream, id_ in reads]
    return torch.stack(logs).sum().exp()
