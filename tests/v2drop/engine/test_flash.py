"""Every method, and every family, under FlashAttention's contract: no masks, or 2-D ones; same logits, same tokens."""

import pytest
import torch

from tests.support import zoo
from tests.support.fitted_methods import fitted
from tests.support.flash_on_cpu import flashing
from v2drop import METHODS, DyCoke, FastV, Random, Schedule, V2Drop
from v2drop.contract.oracle import run_with_cache
from v2drop.contract.toys import batch, toy
from v2drop.models.families import FAMILIES

CASES = {name: lambda name=name: fitted(name, {1: 0.5, 3: 0.2}) for name in METHODS}
CASES["dycoke, second stage"] = lambda: DyCoke(Schedule({0: 0.8}), visible_share=0.4, hide_from_layer=2)
REFUSED = ("gemma3", "paligemma", "paligemma2", "qwen2_window", "mistral_window")
FLASH = [name for name, family in FAMILIES.items() if "flash" in family.attention_operators]
SCHEDULE = Schedule({1: 0.5, 3: 0.2})


def same(found):
    (logits, kept), (others, left) = found
    torch.testing.assert_close(logits, others, atol=1e-5, rtol=1e-5)
    assert kept.keys() == left.keys() and all(torch.equal(kept[layer], left[layer]) for layer in kept)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rows", [["titttt"], ["titttt", "tit"], ["tiittt", "tttt"]], ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_methods_fit_flash_attention(name, rows, side):
    data, tokens, found, model = batch("llava", rows, side), torch.randint(4, 64, (len(rows), 4)), [], toy("llava")

    def run():
        with CASES[name]()(model) as trace:
            found.append((run_with_cache(model, data, tokens), trace.kept))

    run()
    with flashing(model):
        run()
    same(found)


@pytest.mark.parametrize("method", [V2Drop, Random, FastV])
@pytest.mark.parametrize("name", FLASH)
def test_families_fit_flash_attention(name, method):
    model = zoo.model(name)
    text = ["tvvvvvvvvtvvvvttt", "tvvtt", "tttt"]
    for rows in (text[:1], text) if name in zoo.TEXT_ONLY else (["tittt"], ["tiitttt", "tit", "tttt"]):
        data, found = zoo.prompt(name, rows), []

        def run(data=data, found=found):
            with method(SCHEDULE)(model, **data.options) as trace:
                found.append((zoo.greedy(model, data, 3)[1], trace.kept))

        run()
        with flashing(model):
            run()
        same(found)


@pytest.mark.parametrize("name", REFUSED)
def test_windows_and_tokens_that_see_later_ones_are_refused(name):
    model, data = zoo.model(name, "eager"), zoo.prompt(name, ["tvvvtt" if name in zoo.TEXT_ONLY else "tittt"])
    with flashing(model), V2Drop(SCHEDULE)(model, **data.options):
        with pytest.raises(ValueError, match=r"not supported for this model .*allowed: eager, sdpa\."):
            model(**data.inputs)
