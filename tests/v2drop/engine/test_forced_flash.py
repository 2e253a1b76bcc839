"""The flash back end of SDPA and nothing else, through prefill and decode: no layer may pass a mask.

On a GPU that back end is FlashAttention 2 and takes none. The CPU's would take one, so here it is refused.
"""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.support import zoo
from v2drop import METHODS, Schedule
from v2drop.models.families import FAMILIES

FLASH = [name for name, family in FAMILIES.items() if "flash" in family.attention_operators]


@pytest.fixture
def calls(monkeypatch):
    """How many queries each call of SDPA had."""
    found, attend = [], torch.nn.functional.scaled_dot_product_attention

    def without_mask(query, key, value, attn_mask=None, **options):
        assert attn_mask is None, "FlashAttention takes no mask"
        found.append(query.shape[2])
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            return attend(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", without_mask)
    return found


@pytest.mark.parametrize("method", ["v2drop", "random", "fastv", "pdrop"])
@pytest.mark.parametrize("name", FLASH)
def test_generation_under_the_flash_back_end_is_that_of_eager_attention(name, method, calls):
    data = zoo.prompt(name, ["tvvvvvvvvvvtttt" if name in zoo.TEXT_ONLY else "tiitttt"])
    method, found = METHODS[method](Schedule({1: 0.5, 3: 0.2})), []
    for operator in ("eager", "sdpa"):
        model = zoo.model(name, operator)
        with method(model, **data.options) as trace:
            found.append((zoo.greedy(model, data, 3)[1], trace.kept))
    torch.testing.assert_close(found[0][0], found[1][0], atol=3e-5, rtol=1e-5)
    assert all(torch.equal(found[0][1][layer], kept) for layer, kept in found[1][1].items())
    assert calls.count(1) == 2 * 5  # decode, after the prefill's
