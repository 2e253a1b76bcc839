"""Every method under an operator that takes masks as the flash operators do: same logits, same tokens."""

import pytest
import torch
from decoding import run_with_cache
from fitting import fitted
from flash import flashing
from toys import batch, toy

from v2drop import METHODS, DyCoke, Schedule

CASES = {name: lambda name=name: fitted(name, {1: 0.5, 3: 0.2}) for name in METHODS}
CASES["dycoke, second stage"] = lambda: DyCoke(Schedule({0: 0.8}), seen=0.4, deep=2)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rows", [["titttt"], ["titttt", "tit"], ["tiittt", "tttt"]], ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_masks_fit_the_flash_operators(name, rows, side):
    data, tokens, found = batch("llava", rows, side), torch.randint(4, 64, (len(rows), 4)), []
    for model in (toy("llava"), flashing("llava")):
        with CASES[name]()(model) as trace:
            found.append((run_with_cache(model, data, tokens), trace.kept))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(found[0][1][layer], found[1][1][layer]) for layer in found[0][1])
