"""What reaches the language model of each picture, and the language model on it: one row at a time, in float64."""

from itertools import groupby

import pytest
import torch

from tests.support.float64_models import decoder_layer, logits, projected, tower_embeddings, tower_layer, tower_mlp
from v2drop.contract.toys import IMAGE_ID, IMAGE_TOKENS, LAYERS, toy

CASES = pytest.mark.parametrize(
    ("pattern", "left"), [("titttt", 5), ("tit", 1), ("ittit", 9), ("it", 0), ("itiit", 17), ("tit", 15)]
)


def seen_by_tower(model, picture):
    """Of the layer whose features are taken: its output [1 + patches, width], attention map and head-mean keys."""
    tower = model.model.vision_tower
    layers = len(tower.encoder.layers) + 1 + model.config.vision_feature_layer
    x = tower_embeddings(tower, picture)
    for layer in tower.encoder.layers[:layers]:
        x, weights, keys = tower_layer(layer, x)
        x = tower_mlp(layer, x)
    return x, weights, keys.mean(1)


def embedded(model, data):
    """A picture's embeddings without any method: [[patches, width] per picture]."""
    pictures = data.inputs.get("pixel_values", [])
    return [projected(model, seen_by_tower(model, picture)[0][1:]) for picture in pictures]


def shared(data, left):
    """Of the only row: where each picture starts, and how many it keeps: cumulated shares, rounded down."""
    starts = data.vision[0].nonzero().flatten().tolist()[::IMAGE_TOKENS]
    ends = [left * i // len(starts) for i in range(len(starts) + 1)]
    return [(start, ends[i + 1] - ends[i]) for i, start in enumerate(starts)]


def expected(model, data, tokens, pictures):
    """Logits after the prompt and after each of `tokens`, the prompt's pictures being given as [tokens, width] each."""
    decoder, sequence, pictures = model.model.language_model, [], iter(pictures)
    ids = data.inputs["input_ids"][0].tolist()
    for is_image, run in groupby(ids + tokens.tolist(), key=lambda i: i == IMAGE_ID):
        run = torch.tensor(list(run))
        if is_image:
            sequence += [next(pictures) for _ in range(len(run) // IMAGE_TOKENS)]
        else:
            sequence.append(decoder.embed_tokens(run).double())
    x = torch.cat(sequence)
    for layer in decoder.layers:
        x = decoder_layer(layer, x, torch.arange(len(x)))[0]
    return logits(model, x)[-1 - len(tokens) :].float()


def run(method, data, tokens, model=None):
    """The same logits of the model itself with the method on it, and the trace."""
    model = toy("llava") if model is None else model
    with method(model) as trace:
        out = model(**data.inputs)
        found, cache, length = [out.logits[0, -1]], out.past_key_values, data.vision.shape[1]
        for i, token in enumerate(tokens):
            mask = torch.ones(1, length + i + 1, dtype=torch.long)
            out = model(input_ids=token.view(1, 1), attention_mask=mask, past_key_values=cache)
            found.append(out.logits[0, -1])
    assert len(trace.lengths) == LAYERS
    return torch.stack(found), trace


def kept(trace):
    """Positions that are left of the only row, in the order in which they are read."""
    return trace.kept[0][0].tolist()
