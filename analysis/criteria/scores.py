"""The scores of every vision token of a prompt by all criteria, side by side, in a run without drops."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor, nn

from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.progress import progress_bar
from analysis.residual_stream.decoder_inputs import prompt_shape
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import Tokens, check_layers, measured_prompts, token_keys
from analysis.residual_stream.stream import Stream
from analysis.scenes.asked import asked, prompts
from analysis.scenes.question_seeds import question_seeds
from analysis.scenes.questions import Questions
from v2drop.arguments import seed_number, whole_number
from v2drop.models.parts import is_vision, locate
from v2drop.scoring.position_trend import divide_trend
from v2drop.scoring.variation import METRICS

VARIATIONS = tuple(f"variation_{name}" for name in METRICS)
ATTENTIONS = ("attention_last", "attention_text", "attention_debiased")
CRITERIA = (*VARIATIONS, *ATTENTIONS, "key_norm", "token_norm", "random")


def score_tokens(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Collection[int] | int | None = None,
    tokens: Tokens = None,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int | Sequence[int] = 0,
) -> pd.DataFrame:
    r"""The scores of every vision token behind layer l, as a drop at the input of layer l + 1 would use them.

    - variation_l2, _l1, _cosine, _relative_l2, _transition: `v2drop.scoring.variation.METRICS` of the update that
      layer l writes; the last is TransPrune's score of one layer (arXiv 2507.20630).
    - attention_last: attention of the last prompt token to the token in layer l, mean over heads (FastV).
    - attention_text: the same, mean over all positions behind the last picture (SparseVLM's raters, unselected).
    - attention_debiased: attention_last divided by its fitted position trend
      (`v2drop.scoring.position_trend.divide_trend`).
    - key_norm: L2 norm of the token's keys in layer l over all heads, which no rotation changes. DART picks pivots by
      large key norms (L1); kvpress' Knorm keeps small ones, so it ranks by the negative of this column.
    - token_norm: :math:`\|x^{(l+1)}\|_2`. random: uniform draws.

    Tokens with higher scores are kept. Attention and key norms are NaN for layers without `self_attn`.

    Args:
        model: A model of a supported family (`v2drop.models.families.FAMILIES`), in evaluation mode; left as it was.
        inputs: The keyword arguments that the model is called with; rows may be padded.
        layers: Decoder layers l, counted from 0; None for all.
        tokens: As for `analysis.operator_norms`, but not a row's last token, behind which there is no text.
        dtype: torch.float32 or torch.float64, for states and keys; eager attention always has a float32 softmax.
        seed: The seed of the column random, an int for the batch, or one for each row, which then draws what it would
            draw in any batch.

    Returns:
        One row per (sample, layer, token): sample (row of the batch), layer (l), token (position in the batch),
        vision_index (the token's index among those of the row's pictures, from 0; among the measured tokens where the
        row has no picture), and the columns above.

    Raises:
        ValueError: An argument is none of those above, the model is not supported or is inside a dropping `with`, or
            its weights are quantised in a way that cannot be taken back exactly.
    """
    layers = check_layers(model, range(len(locate(model).layers)) if layers is None else layers)
    keys_of_draws, frames = _keys_of_draws(seed, inputs), []
    with differentiable_attention(model), torch.no_grad():
        decoder = FrozenDecoder(model, dtype, "hidden")
        for sample, stream, positions in measured_prompts(decoder, model, inputs, tokens):
            image = _image_positions(decoder, inputs, sample, stream, positions)
            columns = [_layer_scores(stream, layer, positions, image) for layer in layers]
            values = {
                name: torch.stack([c[name] for c in columns]).double().cpu().flatten().numpy() for name in columns[0]
            }
            index = torch.searchsorted(image, positions).cpu().numpy()
            keys = token_keys(sample, layers, stream, positions).assign(vision_index=np.tile(index, len(layers)))
            draws = [
                np.random.default_rng([*keys_of_draws[sample], layer]).random(len(image))[index] for layer in layers
            ]
            frames.append(keys.assign(**values, random=np.concatenate(draws)))
    return pd.concat(frames, ignore_index=True)


def scored(
    loaded: Loaded, questions: Questions, layers: Sequence[int] | None = None, batch_size: int = 25, seed: int = 0
) -> pd.DataFrame:
    """The scores of many questions (`score_tokens` in batches).

    Args:
        loaded: Model and processor.
        questions: Scenes with a question each.
        layers: Decoder layers l, counted from 0; None for all.
        batch_size: The number of questions in a batch.
        seed: The seed of the column random. A question's draws belong to it, to the question's words and picture, and
            to the layer: the same in any batch, order and set of questions.

    Returns:
        The frame of `score_tokens`, whose sample is the question's index, with the column kind (of the question).

    Raises:
        ValueError: There is no question, or as for `score_tokens`.
    """
    check_loaded(loaded)
    batch_size = whole_number("batch_size", batch_size, 1)
    questions, frames = asked(questions, "text", "kind"), []
    for start in progress_bar(range(0, len(questions), batch_size), desc="scores", unit="batch"):
        batch = questions[start : start + batch_size]
        inputs = prompts(loaded, batch)
        seeds = question_seeds(seed, batch)
        scores = score_tokens(loaded.model, inputs, layers, loaded.vision_mask(inputs), seed=seeds)
        frames.append(scores.assign(sample=scores["sample"] + start))
    frame = pd.concat(frames, ignore_index=True)
    kinds = {number: question.kind for number, (_, question) in enumerate(questions)}
    return frame.assign(kind=frame["sample"].map(kinds))


def _keys_of_draws(seed: int | Sequence[int], inputs: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """What the draws of each row belong to beside the layer."""
    n_rows = prompt_shape(inputs)[0]
    if isinstance(seed, Integral):
        return [(seed_number(seed), row) for row in range(n_rows)]
    seeds = [(whole_number("each seed", each, 0),) for each in seed]
    if len(seeds) != n_rows:
        raise ValueError(f"seed must be an int, or one for each of the {n_rows} rows; got {len(seeds)} seeds.")
    return seeds


def _image_positions(
    decoder: FrozenDecoder, inputs: Mapping[str, Any], sample: int, stream: Stream, measured: Int[Tensor, " n"]
) -> Int[Tensor, " image"]:
    """The positions of a row's picture tokens and of the measured ones, ascending, without the row's last position."""
    image = torch.zeros(stream.length, dtype=torch.bool, device=measured.device)
    image[measured] = True
    if image[-1]:
        raise ValueError(f"tokens must not be a row's last one, behind which there is no text; got it in row {sample}.")
    if decoder.parts.vlm_module is not None and inputs.get("input_ids") is not None:
        ids = inputs["input_ids"][sample].to(measured.device)[stream.columns]
        image |= is_vision(ids, decoder.parts.vision_ids)
    image[-1] = False
    return image.nonzero().flatten()


def _layer_scores(
    stream: Stream, layer: int, tokens: Int[Tensor, " n"], image: Int[Tensor, " image"]
) -> dict[str, Tensor]:
    """The scores of `tokens` by every criterion but random; `image` are all positions that the trend is fitted on."""
    before, after = (stream.states[layer + i][tokens] for i in (0, 1))
    scores = {name: metric(before, after) for name, metric in zip(VARIATIONS, METRICS.values(), strict=True)}
    attention = stream.attention(layer, rows=stream.length - 1 - int(image[-1]))[:, image]
    last, text = attention[-1], attention.mean(0)
    index = torch.searchsorted(image, tokens)
    order = torch.arange(len(last), device=last.device)[None]
    debiased = divide_trend(last[None], order, torch.ones_like(order, dtype=torch.bool))[0]
    scores |= {name: x[index] for name, x in zip(ATTENTIONS, (last, text, debiased), strict=True)}
    return scores | {"key_norm": stream.keys(layer)[tokens].norm(dim=-1), "token_norm": after.norm(dim=-1)}
