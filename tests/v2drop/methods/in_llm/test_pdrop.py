"""PyramidDrop against its formula: attention in the layer to come, dense and in float64, positions repacked."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.float64_models import attention_map, queries_keys
from tests.support.slow_decoder import compare, fast
from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy

PDrop = METHODS["pdrop"]
ROWS = ["ttvvvvvvvvvvvvtt", "vvvvvvvvt", "tvvvvvttvvvvvvttt"]


def reference(seen):
    weights = attention_map(*queries_keys(seen.layers[seen.layer], seen.x, seen.ids))
    heads, last = len(weights), len(seen.x) - 1
    return seen.best([sum(weights[h, last, c] for h in range(heads)) / heads for c in seen.vision])


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@settings(max_examples=15)
@given(
    row=st.sampled_from(ROWS),
    seed=st.integers(0, 99),
    left=st.sampled_from([{1: 5}, {2: 0.5}, {1: 0.7, 3: 2}, {1: 0.5, 2: 0.25, 4: 0.125}]),
)
def test_is_the_reference(family, operator, row, seed, left):
    compare(toy(family, operator), PDrop(Schedule(left)), batch(family, [row], seed=seed), reference, "repack")


def test_a_step_by_hand():
    """Twelve vision tokens between two and two: ids at generation go down by what is missing in each layer."""
    data, model, seen = batch("llama", ["ttvvvvvvvvvvvvtt"]), toy("llama"), {}
    handles = [
        layer.self_attn.register_forward_pre_hook(
            lambda _, __, kwargs, n=n: seen.setdefault(n, []).append(kwargs["position_embeddings"][0]), with_kwargs=True
        )
        for n, layer in enumerate(model.model.layers)
    ]
    try:
        fast(model, PDrop(Schedule({1: 0.5, 3: 0.25})), data, torch.tensor([[5, 6]]))
    finally:
        for handle in handles:
            handle.remove()
    cosines = model.model.rotary_emb(torch.zeros(1), torch.arange(18)[None])[0]
    for layer, length in enumerate([16, 10, 10, 7, 7]):
        prompt, first, second = seen[layer]
        torch.testing.assert_close(prompt, cosines[:, :length])
        torch.testing.assert_close(first, cosines[:, length : length + 1])
        torch.testing.assert_close(second, cosines[:, length + 1 : length + 2])
