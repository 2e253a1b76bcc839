"""Effects of tokens in groups: on games whose answer is known, from a real model, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import inclusion_impact, sample, shapley_impact
from analysis.group_impact import effects as module
from analysis.residual_stream.measured_tokens import layers_at
from analysis.statistics.shapley import inclusion_effects, random_subsets
from tests.support.stream_cases import game_of

COLUMNS = ["sample", "layer", "token", "effect", "vision_index", "value", "low", "high", "first_half", "second_half"]
COLUMNS += ["draws", "all_kept", "none_kept", "mean_kept"]
WEIGHTS = np.random.default_rng(0).normal(size=144)


@pytest.fixture
def additive(monkeypatch):
    """Every game is the sum of known weights."""
    monkeypatch.setattr(module.AnswerGame, "values", lambda self, layer, kept, batch_size=16: kept @ WEIGHTS - layer)


@pytest.fixture(scope="module")
def measured(embedded):
    return inclusion_impact(embedded, sample(2), [0, 5], 1 / 3, subsets=20)


def test_one_row_for_every_token_layer_effect_and_question(measured):
    assert measured.columns.tolist() == COLUMNS
    assert len(measured) == 2 * 2 * 144
    assert measured.effect.unique().tolist() == ["inclusion@0.33"]
    assert not measured.duplicated(["sample", "layer", "effect", "token"]).any()
    assert (measured.token == measured.vision_index + 1).all() and (measured.draws == 20).all()


def test_effects_are_those_of_the_models_own_game(embedded, measured):
    (scene, question), found = sample(2)[1], measured[(measured["sample"] == 1) & (measured.layer == 5)]
    found = found[found.effect == "inclusion@0.33"]
    game = game_of(
        embedded.model,
        embedded.inputs([scene.image], [question.text]),
        embedded.answer_ids(question.text, question.answer),
    )
    rng = np.random.default_rng([*module.question_seeds(0, sample(2)[1:]), 48])
    kept = random_subsets(144, 48, 20, rng)
    values = game.values(5, kept)
    np.testing.assert_allclose(found.value, inclusion_effects(kept, values), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.first_half, inclusion_effects(kept[:10], values[:10]), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.second_half, inclusion_effects(kept[10:], values[10:]), rtol=1e-4, atol=1e-7)
    assert found.mean_kept.iloc[0] == pytest.approx(values.mean(), rel=1e-4)
    ends = game.values(5, np.stack([np.ones(144, dtype=bool), np.zeros(144, dtype=bool)]))
    assert found[["all_kept", "none_kept"]].iloc[0].tolist() == pytest.approx(ends, rel=1e-4)


def test_an_additive_game_is_recovered(embedded, additive):
    table = inclusion_impact(embedded, sample(1), [2, 7], (1 / 3, 1 / 2), subsets=400)
    expected = (WEIGHTS - WEIGHTS.mean()) * 144 / 143
    for _, rows in table.groupby(["effect", "layer"]):
        assert np.corrcoef(rows.value, expected)[0, 1] > 0.75
        assert ((rows.low <= expected) & (expected <= rows.high)).mean() > 0.85
        assert np.abs((rows.first_half + rows.second_half) / 2 - rows.value).max() < 0.2
    layer_2, layer_7 = (table[table.layer == layer].value.to_numpy() for layer in (2, 7))
    np.testing.assert_allclose(layer_2, layer_7, atol=1e-9)  # the same subsets behind every layer
    values = shapley_impact(embedded, sample(1), 4, pairs=2)
    for column in ("value", "first_half", "second_half"):
        np.testing.assert_allclose(values[column], WEIGHTS, atol=1e-9)


def test_shapley_values_add_up_to_what_all_tokens_are_worth(embedded):
    table = shapley_impact(embedded, sample(1), 10, pairs=2)
    assert table.columns.tolist() == COLUMNS and set(table.effect) == {"shapley"}
    assert table.value.sum() == pytest.approx(table.all_kept[0] - table.none_kept[0], abs=1e-9)
    assert (table.draws == 2).all() and not table.value.eq(0).all()
    np.testing.assert_allclose((table.first_half + table.second_half) / 2, table.value, atol=1e-12)


def test_draws_belong_to_the_question_and_the_seed(embedded, measured):
    alone, other = (inclusion_impact(embedded, sample(2)[1:], 5, 1 / 3, 20, seed, batch_size=7) for seed in (0, 1))
    both = measured[(measured["sample"] == 1) & (measured.layer == 5)]
    np.testing.assert_allclose(alone.value, both.value, rtol=1e-4, atol=1e-7)
    assert np.corrcoef(other.value[:144], alone.value[:144])[0, 1] < 0.9


def test_layers_are_chosen_by_depth_if_none_are_named(embedded, additive):
    assert layers_at(30, module.DEPTHS) == [1, 9, 14, 21]
    table = inclusion_impact(embedded, sample(1), ratios=0.5, subsets=4)
    assert table.layer.unique().tolist() == [0, 3, 5, 8]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"layers": 12},
            "each of layers must be an int from 0 to 11; got 12|layers must be an int from 0 to 11; got 12",
        ),
        ({"ratios": []}, "ratios must be different numbers, one or more"),
        ({"ratios": 0}, r"ratios must lie in \(0, 1\]"),
        ({"subsets": 1}, "subsets must be an int of 2 or more; got 1"),
        ({"seed": -1}, "seed must be an int from 0"),
        ({"batch_size": 0}, "batch_size must be an int of 1 or more; got 0"),
        ({"questions": []}, "questions must be a list of pairs"),
    ],
)
def test_wrong_arguments_are_said(embedded, change, said, without_type_checker):
    given = {"questions": sample(1), "layers": 0, "ratios": 0.5, "subsets": 2} | change
    with pytest.raises(ValueError, match=said):
        inclusion_impact(embedded, **given)
    if "subsets" not in change and "ratios" not in change:
        with pytest.raises(ValueError, match=said):
            shapley_impact(embedded, **{"questions": sample(1), "layers": 0} | change)


def test_pairs_and_answers_are_checked(embedded, without_type_checker):
    with pytest.raises(ValueError, match="pairs must be an int of 2 or more; got 1"):
        shapley_impact(embedded, sample(1), 0, pairs=1)
    scene, question = sample(1)[0]
    with pytest.raises(ValueError, match="no tokens for the answer"):
        inclusion_impact(embedded, [(scene, replace(question, answer="zebra"))], 0, subsets=2)


def test_a_model_is_left_as_it_was(embedded, additive):
    before = embedded.model.config.text_config._attn_implementation
    inclusion_impact(embedded, sample(1), 0, subsets=2)
    assert embedded.model.config.text_config._attn_implementation == before
