"""What a model needs: against models that have weights, and for Qwen2.5-VL-72B against the sum worked out by hand."""

import pytest
import torch
from transformers import Qwen3Config

from analysis.efficiency.footprint import footprint, qwen_72b
from tests.support import zoo


def numbers(config, **options):
    return footprint(config, **options).set_index("part").numbers.to_dict()


@pytest.mark.parametrize("name", ["llava", "qwen3_vl_moe", "smolvlm", "gemma3", "qwen2"])
def test_parts_are_those_of_the_model(name):
    model = zoo.model(name, "eager")
    counted = numbers(model.config)
    assert counted["all"] == sum(p.numel() for p in model.parameters())
    assert counted["all"] == counted["vision"] + counted["layers"] + counted["embeddings"]
    assert counted["vision"] == sum(p.numel() for key, p in model.named_parameters() if is_vision(key))
    assert (counted["vision"] == 0) == (name in zoo.TEXT_ONLY)


def is_vision(key):
    return any(word in key for word in ("vision", "visual", "projector", "connector"))


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "gemma3"])
def test_the_cache_of_a_token_is_what_a_token_adds(name):
    model = zoo.model(name, "eager")
    cache = model(input_ids=torch.arange(5)[None], use_cache=True).past_key_values
    held = sum(x.numel() for layer in cache.layers for x in (layer.keys, layer.values))
    assert numbers(model.config)["cache"] * 5 == held


def test_heads_may_be_wider_than_their_share():
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "vocab_size": 64}
    config = Qwen3Config(**sizes, num_attention_heads=4, num_key_value_heads=2, head_dim=16)
    assert numbers(config)["cache"] == 2 * 3 * 2 * 16


def test_bytes_follow_the_dtype():
    config = zoo.model("llava").config
    half, whole = footprint(config, torch.float16), footprint(config, torch.float32)
    assert (half.bytes == 2 * half.numbers).all() and (whole.bytes == 4 * whole.numbers).all()


def test_qwen_72b():
    attention = 2 * (8192 * 8192) + 2 * (8192 * 1024) + 8192 + 2 * 1024  # q and o, k and v, biases of q, k and v
    layer = attention + 3 * 8192 * 29568 + 2 * 8192
    patches, merger = 3 * 2 * 14 * 14 * 1280, 1280 + (5120 * 5120 + 5120) + (5120 * 8192 + 8192)
    block = 2 * 1280 + (4 * 1280 * 1280 + 4 * 1280) + (3 * 1280 * 3456 + 2 * 3456 + 1280)
    expected = {"vision": patches + 32 * block + merger, "layers": 80 * layer, "embeddings": 2 * 152064 * 8192 + 8192}
    counted = numbers(qwen_72b())
    assert {part: counted[part] for part in expected} == expected
    assert counted["cache"] == 2 * 80 * 8 * 128
