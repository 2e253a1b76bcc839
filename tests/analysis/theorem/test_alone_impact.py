"""One token left alone is a plain model in which nobody sees the others; the horizon by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.theorem.alone_impact import alone_impact, information_horizon
from v2drop.contract.masks import masks
from v2drop.contract.oracle import oracle_logits
from v2drop.contract.toys import LAYERS, batch, toy

ROWS = {"llama": ["tvvvvtt", "vvtvvvvttt"], "llava": ["titt", "ttitt"]}


@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
def test_one_token_alone_is_that_of_the_oracle(family, operator):
    model, ids = toy(family, operator), [[7], [9]]
    for pattern, answer in zip(ROWS[family], ids, strict=True):
        data = batch(family, [pattern])
        vision = data.vision[0].nonzero().flatten()
        found = alone_impact(model, data.inputs, [answer], tokens=vision.tolist(), batch_size=3)
        assert len(found) == LAYERS * len(vision) and set(found.layer) == set(range(LAYERS))
        for row in found.itertuples():
            left = {row.layer + 1: torch.tensor([[row.token]])}, {row.layer + 1: torch.tensor([[-1]])}
            alone, none = (_probability(model, data, each, answer[0]) for each in left)
            assert row.none_probability == pytest.approx(none, abs=1e-6)
            assert row.alone_impact == pytest.approx(alone - none, abs=1e-6)
            assert row.all_probability == pytest.approx(_probability(model, data, {}, answer[0]), abs=1e-6)


def _probability(model, data, kept, answer):
    visible = masks(data.present, kept, data.vision, LAYERS)
    return oracle_logits(model, data.inputs, data.positions, visible)[0, -1].softmax(-1)[answer].item()


def test_an_answer_of_two_tokens_is_worth_the_product():
    model, data = toy("llama"), batch("llama", ["tvvvtt"])
    inputs = {key: data.inputs[key] for key in ("input_ids", "attention_mask")}
    both = alone_impact(model, inputs, [[7, 9]], [1], tokens=[1, 2, 3])
    first = alone_impact(model, inputs, [[7]], [1], tokens=[1, 2, 3])
    assert (both.all_probability < first.all_probability).all() and (
        both.none_probability < first.none_probability
    ).all()


def test_behind_the_last_layer_nothing_changes():
    data = batch("llama", ["tvvvvtt"])
    found = alone_impact(toy("llama"), data.inputs, [[7]], [LAYERS - 1], tokens=[1, 2, 3, 4])
    np.testing.assert_allclose(found.alone_impact, 0, atol=1e-7)
    np.testing.assert_allclose(found.none_probability, found.all_probability, atol=1e-7)


def test_the_horizon_by_hand():
    rows = [
        (sample, layer, token, value)
        for layer, sizes in enumerate([(0.5, 0.4, 0.6), (0.001, 0.002, 0.001), (0.2, 0.3, 0.2), (0.0, 0.001, 0.002)])
        for sample, size in enumerate(sizes)
        for token, value in enumerate([0.0, -size, size / 2])
    ]
    found = information_horizon(pd.DataFrame(rows, columns=["sample", "layer", "token", "alone_impact"]))
    assert list(found["mean"]) == pytest.approx([0.5, 0.004 / 3, 0.7 / 3, 0.001])
    assert list(found.behind) == [False, False, False, True] and set(found.n) == {3}
    with pytest.raises(ValueError, match="tolerance must be"):
        information_horizon(pd.DataFrame(rows, columns=["sample", "layer", "token", "alone_impact"]), 2.0)


def test_what_is_no_answer_is_refused():
    data = batch("llama", ["tvvvvtt"])
    with pytest.raises(ValueError, match="answers must be"):
        alone_impact(toy("llama"), data.inputs, [], tokens=[1])
    with pytest.raises(ValueError, match="last token of a prompt"):
        alone_impact(toy("llama"), data.inputs, [[7]], tokens=[1, 6])
