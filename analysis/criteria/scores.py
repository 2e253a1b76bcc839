"""What criteria say of every vision token of a prompt, side by side, before anything is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from analysis.models.loading import Loaded
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.stream import Stream
from analysis.residual_stream.token_choice import Tokens, check_layers, measured_prompts, token_keys
from analysis.scenes.mosaic import Questions
from v2drop.debias import divide_trend
from v2drop.models import is_vision, locate
from v2drop.variation import METRICS

VARIATIONS = tuple(f"variation_{name}" for name in METRICS)
ATTENTIONS = ("attention_last", "attention_text", "attention_debiased")
CRITERIA = (*VARIATIONS, *ATTENTIONS, "key_norm", "token_norm", "random")


def score_tokens(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Iterable[int] | int | None = None,
    tokens: Tokens = None,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Score every vision token behind layer l by every criterion, as a drop at the input of layer l + 1 would.

    - variation_l2, _l1, _cosine, _relative_l2, _transition: `v2drop.variation.METRICS` of what layer l changes;
      the last is TransPrune's score of one layer (arXiv 2507.20630).
    - attention_last: attention of the last prompt token to the token in layer l, mean over heads (FastV).
    - attention_text: the same, mean over all positions behind the last picture (SparseVLM's raters, unselected).
    - attention_debiased: attention_last by its fitted position trend (`v2drop.debias.divide_trend`).
    - key_norm: L2 norm of the token's keys in layer l, all heads together, which no rotation changes. DART picks pivots
      by large ones (L1); kvpress' Knorm keeps the small ones, which is this column's negative.
    - token_norm: :math:`\|x^{(l+1)}\|_2`. random: uniform draws.

    Higher is kept. Attention and keys are NaN for layers without `self_attn`.

    Args:
        model: of a supported family (`v2drop.models.FAMILIES`), in evaluation mode; left as it was.
        inputs: as the model is called with; rows may be padded.
        layers: l, decoder layers from 0; all by default.
        tokens: as for `analysis.operator_norms`; not a row's last one, behind which there is no text.
        dtype: torch.float32 or torch.float64, of states and keys; an eager softmax computes in float32 whatever it is.
        seed: of the column random.

    Returns:
        One row per (sample, layer, token): these three (row of the batch, l, position in the batch), rank (0-based,
        among the tokens of the row's pictures; of those measured, where there are none), and the columns above.

    Raises:
        ValueError: an argument is not one of those above, or the model is not supported or inside a dropping `with`.
    """
    layers = check_layers(model, range(len(locate(model).layers)) if layers is None else layers)
    frames = []
    with differentiable_attention(model), torch.no_grad():
        network = FrozenDecoder(model, dtype, "hidden")
        for sample, stream, places in measured_prompts(network, model, inputs, tokens):
            whole = _image_positions(network, inputs, sample, stream, places)
            columns = [_layer_scores(stream, layer, places, whole) for layer in layers]
            values = {
                name: torch.stack([c[name] for c in columns]).double().cpu().flatten().numpy() for name in columns[0]
            }
            rank = torch.searchsorted(whole, places).cpu().numpy()
            keys = token_keys(sample, layers, stream, places).assign(rank=np.tile(rank, len(layers)))
            draws = [np.random.default_rng([seed, sample, layer]).random(len(whole))[rank] for layer in layers]
            frames.append(keys.assign(**values, random=np.concatenate(draws)))
    return pd.concat(frames, ignore_index=True)


def scored(
    loaded: Loaded, asked: Questions, layers: Sequence[int] | None = None, batch_size: int = 25, seed: int = 0
) -> pd.DataFrame:
    """`score_tokens` of many questions, in batches.

    Args:
        loaded: model and processor.
        asked: scenes with a question each.
        layers: as for `score_tokens`.
        batch_size: questions at a time.
        seed: of the column random, which is drawn anew for every question.

    Returns:
        The table, `sample` being the question's index, with the question's kind.
    """
    frames = []
    for start in tqdm(range(0, len(asked), batch_size), desc="scores", unit="batch"):
        batch = asked[start : start + batch_size]
        inputs = loaded.inputs([scene.image for scene, _ in batch], [question.text for _, question in batch])
        found = score_tokens(loaded.model, inputs, layers, seed=seed * 1_000_003 + start)
        frames.append(found.assign(sample=found["sample"] + start))
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(kind=frame["sample"].map({i: question.kind for i, (_, question) in enumerate(asked)}))


def _image_positions(
    network: FrozenDecoder, inputs: Mapping[str, Any], sample: int, stream: Stream, places: Int[Tensor, " n"]
) -> Int[Tensor, " whole"]:
    """Where the tokens of a row's pictures are, and those measured, but for the row's last one."""
    found = torch.zeros(stream.length, dtype=torch.bool, device=places.device)
    found[places] = True
    if found[-1]:
        raise ValueError(f"tokens must not be a row's last one, behind which there is no text; got it in row {sample}.")
    if network.parts.receiver is not None and inputs.get("input_ids") is not None:
        ids = inputs["input_ids"][sample].to(places.device)[stream.columns]
        found |= is_vision(ids, network.parts.vision_ids)
    found[-1] = False
    return found.nonzero().flatten()


def _layer_scores(
    stream: Stream, layer: int, tokens: Int[Tensor, " n"], whole: Int[Tensor, " whole"]
) -> dict[str, Tensor]:
    before, after = (stream.states[layer + i][tokens] for i in (0, 1))
    found = {name: metric(before, after) for name, metric in zip(VARIATIONS, METRICS.values(), strict=True)}
    attention = stream.attention(layer, rows=stream.length - 1 - int(whole[-1]))[:, whole]
    last, text = attention[-1], attention.mean(0)
    there = torch.searchsorted(whole, tokens)
    order = torch.arange(len(last), device=last.device)[None]
    debiased = divide_trend(last[None], order, torch.ones_like(order, dtype=torch.bool))[0]
    found |= {name: x[there] for name, x in zip(ATTENTIONS, (last, text, debiased), strict=True)}
    return found | {"key_norm": stream.keys(layer)[tokens].norm(dim=-1), "token_norm": after.norm(dim=-1)}
