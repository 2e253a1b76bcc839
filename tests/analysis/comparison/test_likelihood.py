"""The log probability of an answer is what the model says when the answer's tokens are fed one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.comparison.accuracy import accuracy
from analysis.comparison.pairs import paired_difference
from analysis.criteria.dropping_by_table import ScoresFromTable
from analysis.scenes.questions import sample
from v2drop import Schedule, V2Drop

METHODS = {"plain": None, "v2drop": V2Drop(Schedule({1: 20, 6: 3}))}


def step_by_step(loaded, scene, question, method):
    """Sum of the answer's log probabilities: prompt, then one token after the other from the cache."""
    inputs = loaded.inputs([scene.image], [question.text])
    ids = loaded.processor.tokenizer(question.answer, add_special_tokens=False)["input_ids"]
    total = 0.0
    with method(loaded.model) if method else torch.no_grad():
        out = loaded.model(**inputs, use_cache=True)
        present = inputs["attention_mask"]
        for i, token in enumerate(ids):
            total += float(out.logits[0, -1].double().log_softmax(-1)[token])
            present = torch.cat([present, present[:, :1]], 1)
            position = torch.tensor([[inputs["input_ids"].shape[1] + i]])
            step = {"input_ids": torch.tensor([[token]]), "attention_mask": present, "position_ids": position}
            out = loaded.model(**step, past_key_values=out.past_key_values)
    return total


def test_log_probabilities_of_short_and_long_answers(embedded):
    asked = [
        (scene, replace(q, answer=a)) for (scene, q), a in zip(sample(3), ("7", "red blue two", "yes no"), strict=True)
    ]
    table = accuracy(embedded, asked, METHODS, batch_size=3)
    for name, method in METHODS.items():
        expected = [step_by_step(embedded, *one, method) for one in asked]
        np.testing.assert_allclose(table.log_probability[table.method == name], expected, atol=1e-4)


def test_the_likelihood_does_not_depend_on_who_else_is_in_the_batch(embedded):
    """Another row's long answer makes the batch run the answers, where alone the reply's own logits do."""
    (scene, question), long = sample(1)[0], replace(sample(2)[1][1], answer="red blue")
    short = accuracy(embedded, [(scene, question)], METHODS)
    both = accuracy(embedded, [(scene, question), (sample(2)[1][0], long)], METHODS)
    np.testing.assert_allclose(both.log_probability[both.question == 0], short.log_probability, atol=1e-5)
    assert both.reply[both.question == 0].tolist() == short.reply.tolist()


def test_a_model_that_answers_right_is_sure_and_blind_it_is_not(embedded):
    table = accuracy(embedded, sample(10), {"plain": None, "blind": lambda batch: blind(len(batch))})
    mean = table.groupby("method").log_probability.mean()
    assert mean["plain"] > -0.1 and mean["blind"] < -1
    gain = paired_difference(table, "blind", [], value="log_probability")
    assert gain["mean"].item() == pytest.approx(mean["plain"] - mean["blind"]) and gain.low.item() > 0


def blind(rows):
    return ScoresFromTable(Schedule({0: 0}), {0: torch.zeros(rows, 144)})


def test_an_answer_follows_its_prompt(embedded):
    text = embedded.processor.tokenizer.decode(embedded.answer_ids("what digit is red", "four five"))
    assert text == "four five"
