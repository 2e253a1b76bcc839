"""Massive activations and sinks on models and tables in which they were planted."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import massive_activations, scored, sink_ranks, with_and_without_sinks
from analysis.scenes.facts import TextQuestion, TextScene
from tests.support.text_models import text_model

PAIR = (TextScene("Ben sold Z hat."), TextQuestion("any", "Ben sold", "Z"))


def with_massive_z(operator="sdpa"):
    """A model in which one token's embedding, and so its state behind every layer, is very large in one dimension."""
    loaded = text_model()
    model = copy.deepcopy(loaded.model)
    model.set_attn_implementation(operator)
    with torch.no_grad():
        model.get_input_embeddings().weight[loaded.processor("Z").input_ids[0], 3] = 1000.0
    return replace(loaded, model=model)


def test_finds_the_token_and_its_dimension():
    found = massive_activations(with_massive_z(), [PAIR], [0, 1])
    massive = found[found.norm_ratio > 10]
    assert massive.word.tolist() == ["Z", "Z"] and massive.layer.tolist() == [0, 1]
    assert massive.token.tolist() == [1 + PAIR[0].text.index("Z")] * 2  # behind the start token
    assert massive.dimension.tolist() == [3, 3] and massive.droppable.all()
    assert (massive.dimension_share > 0.99).all() and (massive.token_norm > 990).all()


def test_nothing_is_found_where_nothing_is():
    long = TextScene("Nobody was surprised: it rained all day, the streets were quiet, and the trains ran late.")
    found = massive_activations(text_model(), [(long, PAIR[1])], [0])
    assert found.empty and {"word", "droppable", "norm_ratio", "dimension", "attention_mean"} <= set(found)


def test_attention_is_that_of_the_whole_map():
    loaded = with_massive_z("eager")
    inputs = loaded.inputs([PAIR[0].text], [PAIR[1].text])
    with torch.no_grad():
        maps = loaded.model(**inputs, output_attentions=True).attentions
    found = massive_activations(loaded, [PAIR])
    assert len(found)
    for row in found.itertuples():
        attention = maps[row.layer][0].mean(0)[:, row.token]
        assert row.attention_last == pytest.approx(float(attention[-1]), rel=1e-4)
        assert row.attention_mean == pytest.approx(float(attention[row.token + 1 :].mean()), rel=1e-4)


def table():
    """Two samples of eleven tokens; token 4 is massive, and third from the bottom by `a`, at the top by `b`."""
    frames = []
    for sample in (0, 1):
        a = np.arange(11.0)
        a[[2, 4]] = a[[4, 2]]
        norm = np.where(np.arange(11) == 4, 100.0, 1.0)
        keys = {"sample": sample, "layer": 2, "token": range(11), "vision_index": range(11)}
        frames.append(pd.DataFrame(keys | {"a": a, "b": norm, "token_norm": norm, "attention_last": 0.01}))
    return pd.concat(frames, ignore_index=True)


def test_ranks_by_hand():
    ranks = sink_ranks(table(), ["a", "b"]).set_index(["layer", "criterion"])
    assert ranks.loc[(2, "a"), "mean"] == pytest.approx(0.2)  # above two of ten others
    assert ranks.loc[(2, "b"), "mean"] == 1.0 and ranks.loc[("all", "b"), "n"] == 2


def test_without_sinks_there_are_no_ranks():
    plain = table().assign(token_norm=1.0)
    assert sink_ranks(plain, ["a"]).empty


def test_statistics_of_scores_with_and_without():
    scores = scored(with_massive_z(), [PAIR], [1])
    counted = with_and_without_sinks(scores, lambda t: t.groupby("layer").size().rename("n").reset_index())
    n = counted.set_index("sinks").n
    assert n["with"] - n["without"] >= 1
