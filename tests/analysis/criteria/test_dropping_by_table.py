"""Dropping by a table's column keeps what the method of that name keeps, and answers as it does."""

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.comparison.accuracy import accuracy
from analysis.criteria.dropping_by_table import ScoresFromTable, method_from_column
from analysis.criteria.scores import score_tokens, scored
from analysis.scenes.questions import sample
from v2drop import Schedule, V2Drop
from v2drop.contract.toys import batch, toy
from v2drop.scoring.variation import METRICS

ROWS = ["titttt", "ittitttt", "ttt"]


@pytest.mark.parametrize("metric", METRICS)
def test_one_drop_by_the_column_of_a_metric_is_v2drop(metric):
    model, data = toy("llava"), batch("llava", ROWS)
    table = score_tokens(model, data.inputs, [1])
    empty = pd.DataFrame(
        {"sample": 2, "layer": 1, "token": [0], "vision_index": 0, f"variation_{metric}": 0.0}
    )  # no image
    schedule = Schedule({2: 5})
    method = method_from_column(pd.concat([table, empty]), f"variation_{metric}", schedule)([0, 1, 2])
    with V2Drop(schedule, metric=metric)(model) as expected:
        out = model(**data.inputs).logits
    with method(model) as got:
        again = model(**data.inputs).logits
    assert torch.equal(got.kept[2], expected.kept[2])
    torch.testing.assert_close(again, out, equal_nan=True)


def test_a_drop_by_last_token_attention_keeps_what_the_eager_map_says():
    model, data = toy("llava", "eager"), batch("llava", ["ttitt"])
    weights = model(**data.inputs, output_attentions=True).attentions[0][0].mean(0)[-1]
    places = data.vision[0].nonzero().flatten()
    best = places[weights[places].argsort(descending=True)[:4]].sort().values
    method = method_from_column(score_tokens(toy("llava"), data.inputs, 0), "attention_last", Schedule({1: 4}))([0])
    with method(toy("llava")) as trace:
        toy("llava")(**data.inputs)
    assert trace.kept[1][0].tolist() == best.tolist()


def test_later_drops_choose_among_what_is_left_by_the_scores_of_their_own_layer():
    model, data = toy("llava"), batch("llava", ["ttitt"])
    n, schedule = int(data.vision.sum()), Schedule({1: 6, 3: 2})
    first, then = torch.arange(float(n)), torch.zeros(n)
    then[-5], then[-2], then[0] = 1.0, 2.0, 3.0  # the first token is gone by then
    with ScoresFromTable(schedule, {1: first[None], 3: then[None]})(model) as trace:
        model(**data.inputs)
    places = data.vision[0].nonzero().flatten()
    assert trace.kept[1][0].tolist() == places[-6:].tolist()
    assert trace.kept[3][0].tolist() == places[[-5, -2]].tolist()


def test_accuracy_asks_each_question_with_its_own_scores(embedded):
    asked, schedule = sample(6), Schedule({1: 30})
    table = scored(embedded, asked, [0])
    methods = {
        "given": method_from_column(table, "variation_cosine", schedule),
        "own": V2Drop(schedule, metric="cosine"),
    }
    found = accuracy(embedded, asked, methods, batch_size=4)
    given, own = (found[found.method == name].reset_index(drop=True) for name in methods)
    assert given.reply.tolist() == own.reply.tolist() and given.average_tokens.tolist() == own.average_tokens.tolist()
    np.testing.assert_allclose(given.log_probability, own.log_probability, atol=1e-4)


def synthetic(samples=3, tokens=4):
    rng = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product([range(samples), [0, 1], range(tokens)], names=["sample", "layer", "token"])
    frame = keys.to_frame(index=False)
    return frame.assign(vision_index=frame.token, score=rng.random(len(frame)))


def test_what_is_missing_is_refused():
    table = synthetic()
    with pytest.raises(ValueError, match=r"nothing for drops at \[3\]"):
        method_from_column(table, "score", Schedule({2: 1, 3: 1}))
    with pytest.raises(ValueError, match="got 1 NaN"):
        method_from_column(table.assign(score=table.score.where(table.index != 5)), "score", Schedule({1: 1, 2: 1}))
    with pytest.raises(ValueError, match=r"every question asked; \[3, 9\] are missing"):
        method_from_column(table, "score", Schedule({1: 1}))([0, 3, 9])
    with pytest.raises(ValueError, match="must be there once"):
        method_from_column(pd.concat([table, table]), "score", Schedule({1: 1}))
    with pytest.raises(ValueError, match=r"without \['other'\]"):
        method_from_column(table, "other", Schedule({1: 1}))
    with pytest.raises(ValueError, match=r"layers \[2\] are missing"):
        ScoresFromTable(Schedule({1: 1, 2: 1}), {1: torch.zeros(1, 4)})


def test_scores_of_other_layers_may_be_nan():
    table = synthetic()
    table.loc[table.layer == 1, "score"] = np.nan
    assert method_from_column(table, "score", Schedule({1: 1}))([1]).scores[1].shape == (1, 4)


def test_every_drop_has_the_scores_of_the_layer_before_it_in_the_order_asked_for():
    table = synthetic()
    method = method_from_column(table, "score", Schedule({1: 3, 2: 1}))([2, 0])
    for layer in (1, 2):
        for row, number in enumerate((2, 0)):
            expected = table[(table["sample"] == number) & (table.layer == layer - 1)].score
            np.testing.assert_allclose(method.scores[layer][row], expected)


@pytest.mark.parametrize("wrong", ["too few", "nan"])
def test_tokens_without_a_score_are_refused(wrong):
    model, data = toy("llava"), batch("llava", ["ttitt"])
    given = torch.zeros(1, int(data.vision.sum()))
    given = given[:, :-1] if wrong == "too few" else given.masked_fill(given == 0, torch.nan)
    with pytest.raises(ValueError, match="a score for every token of the prompts"):
        with ScoresFromTable(Schedule({1: 4}), {1: given})(model):
            model(**data.inputs)


def test_protected_tokens_stay_whatever_their_scores(embedded):
    asked = sample(2)
    table = scored(embedded, asked, [0])
    lowest = [rows.sort_values("variation_l2").token.iloc[0] for _, rows in table.groupby("sample")]
    inputs = embedded.inputs([scene.image for scene, _ in asked], [question.text for _, question in asked])
    method = method_from_column(table, "variation_l2", Schedule({1: 48}), protect={int(token) for token in lowest})
    with method([0, 1])(embedded.model) as trace:
        embedded.model(**inputs)
    padding = (inputs["attention_mask"] == 0).sum(1).tolist()
    for row, token, n in zip(trace.kept[1].tolist(), lowest, padding, strict=True):
        assert token + n in row and len(row) == 48
    with pytest.raises(ValueError, match="protect must be"):
        method_from_column(table, "variation_l2", Schedule({1: 48}), protect=[-1])
