"""A cache that is emptied and filled again, used after the `with`, or selected from in another way."""

import copy

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from tests.support import zoo
from v2drop import DyCoke, Random, Schedule
from v2drop.contract.toys import batch, toy

DATA = batch("llama", ["tvvvvvvttt", "tvvttt"])
METHODS = {
    "layer 0": Random(Schedule({0: 3})),
    "layers 1 and 3": Random(Schedule({1: 0.5, 3: 0.25})),
    "both": Random(Schedule({0: 3, 3: 1})),
    "second stage of dycoke": DyCoke(Schedule({0: 0.6}), visible_share=0.4, frame_tokens=2),
}


def steps(model, data, cache, n=3, tokens=None):
    """Logits of some tokens after a prompt, one at a time."""
    mask = data.inputs["attention_mask"]
    tokens = torch.arange(5, 5 + len(mask))[:, None] if tokens is None else tokens
    logits = []
    for i in range(n):
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        ids = mask.sum(1, keepdim=True) - 1
        out = model(input_ids=tokens + i, attention_mask=mask, position_ids=ids, past_key_values=cache)
        logits.append(out.logits[:, -1])
    return torch.stack(logits, 1)


def prefilled(model, data, cache=None):
    return model(**data.inputs, position_ids=data.positions, use_cache=True, past_key_values=cache).past_key_values


def skip_unless_empty(cache):
    if cache.get_seq_length():
        pytest.skip("`reset` of this transformers release keeps the tokens, as zeros")


EMPTIED = {"reset": lambda cache, _: cache.reset(), "cropped": lambda cache, n: cache.crop(-n)}


@pytest.mark.parametrize("emptied", EMPTIED)
@pytest.mark.parametrize("again", [["titttt"], ["t" * 24]], ids=["picture", "text"])
@pytest.mark.parametrize("method", METHODS)
def test_an_emptied_cache_knows_nothing_of_the_prompt_before(method, again, emptied):
    model, first, second = toy("llava"), batch("llava", ["tiitt"]), batch("llava", again, seed=1)
    with METHODS[method](model):
        expected = steps(model, second, prefilled(model, second))
        cache = prefilled(model, first)
        EMPTIED[emptied](cache, cache.get_seq_length())
        skip_unless_empty(cache)
        got = steps(model, second, prefilled(model, second, cache))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("method", ["layer 0", "layers 1 and 3", "both"])
def test_a_cache_that_lacks_tokens_is_refused_after_its_with(method, copied):
    """The plain model takes the first layer's length for the number of tokens."""
    model, token = toy("llama"), torch.tensor([[5], [6]])
    with METHODS[method](model, **DATA.options):
        cache = prefilled(model, DATA)
    cache = copy.deepcopy(cache) if copied else cache
    lengths = [layer.get_seq_length() for layer in cache.layers]
    for other in (model, toy("qwen2")):
        with pytest.raises(ValueError, match="tokens are missing from this cache: .* Go on inside that `with`"):
            other(input_ids=token, past_key_values=cache)
    assert [layer.get_seq_length() for layer in cache.layers] == lengths
    cache.crop(-10)  # empty, it may be used by anyone
    torch.testing.assert_close(steps(model, DATA, prefilled(model, DATA, cache)), plain_steps(model))


def plain_steps(model):
    return steps(model, DATA, prefilled(model, DATA))


def test_a_cache_that_lacks_no_token_may_be_used_afterwards():
    model = toy("llama")
    with Random(Schedule({1: 100}))(model, **DATA.options):
        cache = prefilled(model, DATA)
    torch.testing.assert_close(steps(model, DATA, cache), plain_steps(model))


ROWS = {
    "list": [1, 1, 0],
    "tuple": (1, 1, 0),
    "numpy": np.array([1, 1, 0]),
    "slice": slice(1, None),
    "range": range(1, -1, -1),
    "bools": [False, True],
    "bool tensor": torch.tensor([False, True]),
    "int32": torch.tensor([1, 1, 0], dtype=torch.int32),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("method", ["layer 0", "layers 1 and 3", "both"])
def test_rows_may_be_selected_by_whatever_selects_from_a_tensor(method, rows):
    model, tokens, indices = toy("llama"), torch.tensor([[5], [6]]), ROWS[rows]
    with METHODS[method](model, **DATA.options):
        cache = prefilled(model, DATA)
        expected = steps(model, DATA, copy.deepcopy(cache), tokens=tokens)[indices, ...]
        cache.batch_select_indices(indices)
        mask = DATA.inputs["attention_mask"][indices, ...]
        chosen = type(DATA)({"attention_mask": mask}, DATA.vision[indices, ...], {})
        got = steps(model, chosen, cache, tokens=tokens[indices, ...])
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        cache.batch_select_indices([])
        assert len(cache.layers[0].keys) == 0


@pytest.mark.parametrize("n_cropped", [0, 1])
@pytest.mark.parametrize("family", ["mistral_window", "qwen2_window", "mistral"])
def test_what_follows_a_cropped_padding_column_is_seen(family, n_cropped):
    """On the right of a short row. The other row loses tokens, this one keeps all: it is as without a drop."""
    model, data = zoo.model(family), zoo.prompt(family, ["tvvvttt", "tvvtt"], side="right")
    shorter = type(data)({"attention_mask": data.inputs["attention_mask"][:, : 7 - n_cropped]}, data.vision, {})
    results = []
    for left in (2, 100):
        with Random(Schedule({1: left}))(model, **data.options):
            cache = DynamicCache()
            prefilled(model, data, cache)
            cache.crop(-n_cropped)
            results.append(steps(model, shorter, cache)[1])
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)
