"""Scores are the model's own states, keys and attention, whatever the batch; what is divided out is the trend."""

import numpy as np
import pandas as pd
import pytest

from analysis.criteria.scores import ATTENTIONS, CRITERIA, VARIATIONS, score_tokens, scored
from analysis.scenes.mosaic import scene
from analysis.scenes.questions import question
from tests.support.dense_jacobians import alone
from tests.support.float64_decoders import decoder, prompt
from tests.support.left_behind import assert_unchanged, everything, used
from v2drop.contract.toys import FAMILIES, LAYERS, batch, toy
from v2drop.scoring.variation import METRICS

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
ROWS = {"llava": ["tittt", "ittitt", "ttt"], "llama": ["tvvvvtt", "vvtvvvvvvt"], "qwen2": ["tvvvvtt", "vvtvvvvvvt"]}
NEAR = {"rtol": 2e-4, "atol": 2e-5}


def measured(family, operator="sdpa", **settings):
    data = batch(family, ROWS[family])
    return data, score_tokens(toy(family, operator), data.inputs, tokens=data.vision, **settings)


def reference(family, data, row):
    """Hidden states, attention maps and keys of one row by itself, from the eager model's own outputs."""
    inputs = alone(data, row)
    out = toy(family, "eager")(**inputs, output_hidden_states=True, output_attentions=True, use_cache=True)
    keys = [layer.keys[0].transpose(0, 1).flatten(1) for layer in out.past_key_values.layers]
    return [states[0] for states in out.hidden_states], [weights[0] for weights in out.attentions], keys


@EVERY_FAMILY
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
def test_scores_are_the_models_own_states_attention_and_keys(family, operator):
    data, table = measured(family, operator)
    for row in sorted(set(table["sample"])):
        hidden, attention, keys = reference(family, data, row)
        places = data.vision[row, data.present[row]].nonzero().flatten()
        behind = slice(int(places[-1]) + 1, None)
        for layer in range(LAYERS - 1):  # the last state that transformers gives is behind the final norm
            got = table[(table["sample"] == row) & (table.layer == layer)]
            before, after = hidden[layer][places], hidden[layer + 1][places]
            weights = attention[layer].mean(0)[:, places]
            expected = {f"variation_{name}": metric(before, after) for name, metric in METRICS.items()}
            expected |= {"attention_last": weights[-1], "attention_text": weights[behind].mean(0)}
            expected |= {"key_norm": keys[layer][places].norm(dim=1), "token_norm": after.norm(dim=1)}
            assert got["vision_index"].tolist() == list(range(len(places)))
            for name, values in expected.items():
                np.testing.assert_allclose(got[name], values, err_msg=f"{name}, layer {layer}", **NEAR)


@EVERY_FAMILY
def test_a_row_scores_alike_alone_and_in_a_batch(family):
    data, table = measured(family, layers=[0, 2])
    columns = [name for name in CRITERIA if name != "random"]
    for row in sorted(set(table["sample"])):
        mask = data.vision[row : row + 1, data.present[row]]
        single = score_tokens(toy(family), alone(data, row), [0, 2], mask)
        np.testing.assert_allclose(single[columns], table.loc[table["sample"] == row, columns], **NEAR)


def test_random_scores_differ_from_row_to_row_and_seed_to_seed_and_come_back():
    (_, one), (_, again), (_, other) = (measured("llava", layers=[0, 1], seed=seed) for seed in (0, 0, 1))
    assert one.random.tolist() == again.random.tolist()
    assert one.random.nunique() == len(one) and not set(one.random) & set(other.random)


def test_layers_without_attention_have_no_attention_scores():
    table = score_tokens(decoder(), prompt(1, 7), tokens=[1, 2, 3])
    has = table.groupby("layer")[["attention_last", "attention_debiased"]].count()
    assert table[list(VARIATIONS)].notna().all(axis=None) and (has == 0).all(axis=None)


def test_nothing_is_left_on_the_model():
    model, data = used("llava")
    before = everything(model)
    score_tokens(model, data.inputs, [1])
    assert_unchanged(model, before)


def test_layers_outside_the_model_are_refused():
    with pytest.raises(ValueError, match=f"layers must be an int from 0 to {LAYERS - 1}; got {LAYERS}"):
        measured("llava", layers=[LAYERS])


def test_questions_are_numbered_through_batches(embedded):
    drawn = [scene("test", 3, i) for i in range(5)]
    asked = [(s, question(s, "what", np.random.default_rng(0))) for s in drawn]
    table = scored(embedded, asked, [0], batch_size=2)
    assert table.groupby("sample").size().to_dict() == dict.fromkeys(range(5), 144)
    assert set(table.kind) == {"what"} and table.random.nunique() == len(table)
    last = embedded.inputs([asked[4][0].image], [asked[4][1].text])
    columns = [name for name in CRITERIA if name != "random"]
    alone_again = score_tokens(embedded.model, last, [0])[columns].to_numpy()
    np.testing.assert_allclose(table.loc[table["sample"] == 4, columns], alone_again, rtol=1e-3, atol=1e-5)


def test_a_picture_before_the_question_cannot_know_it(embedded):
    """In a causal decoder what is written at an image token depends on what comes before: claim C9 by construction."""
    s = scene("test", 0, 0)
    asked = [(s, question(s, kind, np.random.default_rng(1))) for kind in ("what", "how-many")]
    one, other = (frame for _, frame in scored(embedded, asked, [0, 6]).groupby("sample"))
    free = [*VARIATIONS, "key_norm", "token_norm"]
    np.testing.assert_allclose(one[free], other[free], rtol=1e-3, atol=1e-5)
    assert all(np.corrcoef(one[name], other[name])[0, 1] < 0.95 for name in ATTENTIONS)


def test_scores_have_the_columns_they_promise():
    _, table = measured("llava", layers=0)
    assert list(table.columns) == ["sample", "layer", "token", "vision_index", *CRITERIA]
    assert not pd.isna(table).any(axis=None)


def test_a_part_of_the_tokens_has_the_ranks_and_scores_that_it_has_among_all(embedded):
    asked = [(s := scene("test", 0, i), question(s, "what", np.random.default_rng(0))) for i in range(2)]
    inputs = embedded.inputs([s.image for s, _ in asked], [q.text for _, q in asked])
    everything = score_tokens(embedded.model, inputs, [1])
    part = score_tokens(embedded.model, inputs, [1], [row[:50:7] for row in embedded.vision_positions(inputs)])
    wanted = everything[everything["vision_index"].isin(range(0, 50, 7))].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, wanted, rtol=1e-4)


def test_the_last_token_of_a_row_is_refused():
    data = batch("llama", ["tvvt"])
    with pytest.raises(ValueError, match="must not be a row's last one.*got it in row 0"):
        score_tokens(toy("llama"), data.inputs, [0], [1, 3])
