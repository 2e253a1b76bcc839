"""v(S) against the masked-attention oracle, a float64 decoder, and v2drop's own engine answering token by token."""

import numpy as np
import pytest
import torch

from analysis.comparison.accuracy import accuracy
from analysis.criteria.dropping_by_table import ScoresFromTable
from analysis.models.loaded import Loaded
from analysis.scenes.mosaic import Scene
from analysis.scenes.questions import Question, sample
from analysis.statistics.shapley import random_subsets
from tests.support import zoo
from tests.support.dense_jacobians import Dense, alone
from tests.support.stream_cases import EVERY_OPERATOR, REFUSED, game_of
from v2drop import Schedule
from v2drop.contract.masks import masks as oracle_masks
from v2drop.contract.oracle import oracle_logits
from v2drop.contract.toys import LAYERS, Batch, batch, toy

NEAR = {"rtol": 1e-4, "atol": 1e-4}
ANSWERS = pytest.mark.parametrize("answer", [[7], [7, 4, 7]], ids=["one token", "three tokens"])


def any_sizes(n, count, seed=0):
    """Subsets of all sizes, the empty and the full one among them."""
    rng = np.random.default_rng(seed)
    drawn = [random_subsets(n, int(rng.integers(n + 1)), 1, rng)[0] for _ in range(count)]
    return np.stack([np.zeros(n, dtype=bool), *drawn, np.ones(n, dtype=bool)])


def followed(inputs, answer):
    """One prompt with its answer's tokens but the last behind it, written plainly."""
    ids = torch.tensor([answer[:-1]], dtype=torch.long)
    longer = {"input_ids": torch.cat([inputs["input_ids"], ids], 1)}
    return {**inputs, **longer, "attention_mask": torch.ones_like(longer["input_ids"])}


def summed(logits, answer):
    """Log probability of the answer, from logits [length, vocabulary] of prompt and answer."""
    logs = logits.double().log_softmax(-1)
    return sum(float(logs[i - len(answer), token]) for i, token in enumerate(answer))


@EVERY_OPERATOR
@ANSWERS
@pytest.mark.parametrize("row", ["titt", "ittt"])
def test_values_are_the_oracles(operator, answer, row):
    data, model = batch("llava", [row]), toy("llava", operator)
    inputs = followed(alone(data, 0), answer)
    vision = inputs["input_ids"] == model.config.image_token_id
    longer = Batch(inputs, vision, {})
    where, kept = vision[0].nonzero().flatten(), any_sizes(16, 6)
    game = game_of(model, alone(data, 0), answer)
    assert game.tokens.tolist() == where.tolist()
    for layer in range(LAYERS - 1):
        expected = []
        for subset in kept:
            visible = oracle_masks(longer.present, {layer + 1: where[subset][None]}, vision, LAYERS)
            expected.append(summed(oracle_logits(model, inputs, longer.positions, visible)[0], answer))
        np.testing.assert_allclose(game.values(layer, kept, batch_size=3), expected, **NEAR)


@ANSWERS
def test_values_are_those_of_a_plain_float64_decoder(answer):
    model, inputs = toy("llava"), alone(batch("llava", ["titt"]), 0)
    game, plain = game_of(model, inputs, answer, torch.float64), Dense(model, followed(inputs, answer))
    kept = any_sizes(16, 4, seed=1)
    for layer in (0, 2, LAYERS - 2):
        expected = []
        for subset in kept:
            mask, gone = plain.mask.clone(), game.tokens[torch.from_numpy(~subset)]
            mask[..., gone] = torch.finfo(mask.dtype).min
            mask[..., gone, gone] = 0
            states = plain.states[layer + 1]
            for later in plain.decoder.layers[layer + 1 :]:
                states = plain.run(later, states, mask)
            expected.append(summed(plain.read(states, "logits")[0], answer))
        np.testing.assert_allclose(game.values(layer, kept), expected, rtol=1e-5, atol=1e-5)  # norms are in float32


@pytest.mark.parametrize("name", sorted(set(zoo.PROCESSORS) - set(REFUSED)))
def test_values_are_the_likelihoods_of_answers_under_a_real_drop(name):
    """With every family: v2drop drops these tokens in the prefill, and `generate` gives the answer from its caches."""
    loaded = Loaded(name, zoo.model(name), zoo.processor(name))
    asked = [(Scene(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)), Question("k", "ab", "no"))]
    inputs, ids = loaded.inputs([asked[0][0].image], ["ab"]), loaded.answer_ids("ab", "no")
    game = game_of(loaded.model, inputs, ids)
    assert len(ids) > 1 and game.tokens.tolist() == loaded.vision_positions(inputs)[0]
    n, last = len(game.tokens), loaded.n_layers - 1
    for layer, size in ((0, n // 3), (last - 1, 1), (0, 0)):
        kept = random_subsets(n, size, 1, np.random.default_rng(size))
        method = ScoresFromTable(Schedule({layer + 1: size}), {layer + 1: torch.from_numpy(kept).float()})
        real = accuracy(loaded, asked, {"real": method}).log_probability.item()
        np.testing.assert_allclose(game.values(layer, kept), [real], **NEAR)
    plain = accuracy(loaded, asked, {"plain": None}).log_probability.item()
    np.testing.assert_allclose(game.values(0, np.ones((1, n), dtype=bool)), [plain], **NEAR)


def test_embedded_answers_under_a_real_drop(embedded):
    asked = sample(3)
    for number, (scene, question) in enumerate(asked):
        inputs = embedded.inputs([scene.image], [question.text])
        game = game_of(embedded.model, inputs, embedded.answer_ids(question.text, question.answer))
        kept = random_subsets(144, 48, 2, np.random.default_rng(number))
        for layer in (0, 5):
            methods = {
                i: ScoresFromTable(Schedule({layer + 1: 48}), {layer + 1: torch.from_numpy(row[None]).float()})
                for i, row in enumerate(kept)
            }
            real = accuracy(embedded, asked[number : number + 1], methods).log_probability
            np.testing.assert_allclose(game.values(layer, kept), real, **NEAR)


def test_any_batch_order_and_number_of_threads_gives_the_same():
    game = game_of(toy("llava"), alone(batch("llava", ["titt"]), 0), [7, 4])
    kept, before = any_sizes(16, 20), torch.get_num_threads()
    expected = game.values(0, kept)
    order = np.random.default_rng(0).permutation(len(kept))
    try:
        torch.set_num_threads(2)
        np.testing.assert_allclose(game.values(0, kept[order], 1), expected[order], rtol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_behind_the_last_layer_nothing_is_lost():
    game = game_of(toy("llava"), alone(batch("llava", ["titt"]), 0), [7, 4])
    values = game.values(LAYERS - 1, any_sizes(16, 3))
    np.testing.assert_allclose(values, values[0], rtol=1e-5)
    np.testing.assert_allclose(values[0], game.values(0, np.ones((1, 16), dtype=bool))[0], rtol=1e-5)


def test_a_vision_token_that_ends_the_prompt_stays_for_the_answer_is_read_there():
    data = batch("llava", ["ti"])
    for answer in ([7], [7, 4]):
        assert game_of(toy("llava"), alone(data, 0), answer).tokens.tolist() == list(range(1, 16))
