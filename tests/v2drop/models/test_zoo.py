"""Before anything is dropped: every family of the zoo runs, and the oracle gives the plain model's logits."""

import pytest
import torch

from tests.support import zoo
from tests.support.cached_decoding import at_last, run_at
from tests.support.zoo_models import BUILD, LAYERS
from tests.support.zoo_processors import words
from tests.support.zoo_words import BYTES
from v2drop.contract.oracle import oracle_run, positions_of
from v2drop.models.families import FAMILIES

STEPS = 4
EVERY_NAME = pytest.mark.parametrize("name", BUILD)
EVERY_MODEL = pytest.mark.parametrize("name, operator", [(name, o) for name in BUILD for o in zoo.operators(name)])
PICTURES = [["titt"], ["tiitt", "ttt", "titttt"]]
FILMS = [["tvt"], ["tvttt", "ttt", "tvt"]]
TEXTS = [["tvvvvvvvvvvtt"], ["tvvvvvtvvvtt", "ttt"]]


def prompts(name):
    if name in zoo.TEXT_ONLY:
        return TEXTS
    return PICTURES + (FILMS if "video" in zoo.kinds(name) else [])


def nothing_dropped(model, data, tokens):
    return oracle_run(model, data, {}, tokens, LAYERS)


def test_the_zoo_has_every_family():
    assert {zoo.VARIANTS.get(name, name) for name in BUILD} == set(FAMILIES)


@EVERY_NAME
def test_the_processor_takes_what_the_family_says(name):
    family = zoo.VARIANTS.get(name, name)
    assert zoo.model(name, "eager").config.model_type == family
    assert set(zoo.kinds(name)) == set(FAMILIES[family].inputs)


@pytest.mark.parametrize("name", [name for name in BUILD if name not in zoo.TEXT_ONLY])
def test_the_chat_template_writes_what_a_message_holds(name):
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "video"}, {"type": "text", "text": "b"}]
    written = zoo.processor(name).apply_chat_template(
        [{"role": "user", "content": parts}], chat_template=zoo.processor(name).chat_template
    )
    assert written == "a{i}{v}b".format(**words(name))


@pytest.mark.parametrize("name", [name for name in BUILD if name not in zoo.TEXT_ONLY])
def test_another_picture_gives_other_logits(name):
    model, data = zoo.model(name, "eager"), zoo.prompt(name, ["titt"])
    other = {key: value.flip(0, -1) if "pixel" in key else value for key, value in data.inputs.items()}
    assert (model(**other).logits - model(**data.inputs).logits)[:, -1].abs().max() > 0.1


@EVERY_MODEL
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_oracle_is_the_plain_model(name, operator, side):
    model = zoo.model(name, operator)
    for rows in prompts(name):
        data = zoo.prompt(name, rows, side)
        expected = model(**data.inputs).logits
        got = nothing_dropped(model, data, torch.zeros(len(rows), 0, dtype=torch.long))
        torch.testing.assert_close(got[data.present], expected[data.present], atol=2e-5, rtol=1e-5)


@EVERY_MODEL
@pytest.mark.parametrize("side", ["left", "right"])
def test_decoding_through_the_cache_is_the_oracle(name, operator, side):
    model = zoo.model(name, operator)
    for rows in prompts(name):
        data = zoo.prompt(name, rows, side)
        tokens = torch.randint(len(BYTES), (len(rows), STEPS), generator=torch.Generator().manual_seed(0))
        got = run_at(model, data, tokens, positions_of(model, data, STEPS))
        logits = nothing_dropped(model, data, tokens)
        torch.testing.assert_close(got, at_last(logits, data), atol=2e-5, rtol=1e-5)


@EVERY_MODEL
def test_generation_is_greedy_on_the_oracle(name, operator):
    model = zoo.model(name, operator)
    for rows in prompts(name):
        data = zoo.prompt(name, rows)
        tokens, got = zoo.greedy(model, data, STEPS)
        expected = nothing_dropped(model, data, tokens)[:, data.vision.shape[1] - 1 : -1]
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5)
