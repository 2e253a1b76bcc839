"""Massive activations and attention sinks: which tokens of a prompt are, and where criteria rank them.

Pretrained language models put a few very large numbers into the states of a token or two, often the first, and let
attention rest there (arXiv 2402.17762, 2309.17453). Such a token says little, and all statistics of norms and attention
are about it; models that were trained from scratch on little data have none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import torch

from analysis.criteria.scores import CRITERIA
from analysis.models.loaded_argument import check_loaded
from analysis.models.loading import Loaded
from analysis.progress import progress_bar
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import check_layers, measured_prompts, token_keys
from analysis.residual_stream.stream import Stream
from analysis.scenes.asked import asked, prompts
from analysis.scenes.questions import Questions
from analysis.statistics.intervals import summarise_layers
from analysis.statistics.token_tables import checked_table
from analysis.theorem.statistics.sinks import is_sink, norm_ratio


@torch.no_grad()
def massive_activations(loaded: Loaded, questions: Questions, layers: Sequence[int] | None = None) -> pd.DataFrame:
    """The tokens of prompts, droppable or not, with massive activations or an outsized share of attention.

    A token counts if, behind a layer, its norm exceeds ten times the median of the prompt's tokens, or if it has more
    than a fifth of the last token's attention in that layer (`analysis.sink_tokens`). The last token is left out.

    Args:
        loaded: Model and processor.
        questions: Scenes or texts with a question each.
        layers: Decoder layers l, counted from 0; None for all.

    Returns:
        One row per such (sample, layer, token): these (token is the position in the prompt without padding), word (the
        token's text), droppable (whether methods may drop it), token_norm (units of x), norm_ratio (over the prompt's
        median), dimension (of the largest entry), dimension_share (of that entry in the squared norm, 0 to 1),
        attention_last, attention_mean (attention of the last token, and of all later tokens, mean over heads). No row
        if there is none.

    Raises:
        ValueError: There is no question, or as for `analysis.score_tokens`.
    """
    check_loaded(loaded)
    layers = check_layers(loaded.model, range(loaded.n_layers) if layers is None else layers)
    frames = []
    with differentiable_attention(loaded.model):
        decoder = FrozenDecoder(loaded.model, torch.float32, "hidden")
        for number, pair in enumerate(progress_bar(asked(questions, "text"), desc="questions")):
            inputs = prompts(loaded, [pair])
            every = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
            every[0, -1] = False
            ((_, stream, tokens),) = measured_prompts(decoder, loaded.model, inputs, every)
            columns = [_columns(stream, layer) for layer in layers]
            keys = token_keys(number, layers, stream, tokens)
            values = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
            droppable = loaded.vision_mask(inputs)[0, :-1].tolist()
            words = [loaded.processor.decode([token]) for token in inputs["input_ids"][0, :-1].tolist()]
            known = {"word": words * len(layers), "droppable": droppable * len(layers)}
            frame = keys.assign(**known, **values)
            frame = frame.assign(norm_ratio=norm_ratio(frame))
            frames.append(frame[is_sink(frame)])
    return pd.concat(frames, ignore_index=True)


def _columns(stream: Stream, layer: int) -> dict[str, np.ndarray]:
    """The columns of all tokens but the last, behind a layer."""
    states = stream.states[layer + 1][:-1]
    norm, largest = states.norm(dim=-1), states.abs().max(-1)
    attention = stream.attention(layer, rows=stream.length)
    later = torch.arange(stream.length - 1, 0, -1, device=attention.device)
    below = attention.tril(-1).sum(0)[:-1]
    columns = {
        "token_norm": norm,
        "dimension": largest.indices,
        "dimension_share": (largest.values / norm).square(),
        "attention_last": attention[-1, :-1],
        "attention_mean": below / later,
    }
    return {name: column.cpu().numpy() for name, column in columns.items()}


def sink_ranks(table: pd.DataFrame, criteria: Collection[str] = CRITERIA) -> pd.DataFrame:
    """Where criteria rank the sinks among the tokens that may be dropped: 1 is kept first, 0 dropped first, .5 chance.

    Args:
        table: The frame of `analysis.scored`.
        criteria: Columns of scores.

    Returns:
        One row per layer with sinks ("all": mean over these) and criterion: layer, criterion, mean over samples of the
        share of other tokens that score lower (ties half), low, high (95 %), n, chance. No row if there are no sinks.

    Raises:
        ValueError: The table is not that frame.
    """
    wanted = dict.fromkeys([*criteria, "attention_last"], "number or NaN") | {"token_norm": "number"}
    table = checked_table(table, wanted)
    sinks = is_sink(table.assign(norm_ratio=norm_ratio(table)))
    within = table.groupby(["sample", "layer"])
    others = within["sample"].transform("size") - 1
    if not sinks.any():
        return pd.DataFrame(columns=["layer", "criterion", "mean", "low", "high", "n", "chance"])
    ranks = table[["sample", "layer"]].assign(**{c: (within[c].rank() - 1) / others for c in criteria})[sinks]
    means = ranks.groupby(["sample", "layer"])[list(criteria)].mean().reset_index()
    each = means.melt(["sample", "layer"], var_name="criterion").dropna()
    return summarise_layers(each.assign(chance=0.5), ["criterion"])
