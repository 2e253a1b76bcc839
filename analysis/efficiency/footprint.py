"""What a model needs before it computes anything: parameters and cache, counted on a model without weights."""

from __future__ import annotations

import pandas as pd
import torch
import transformers  # whose classes are imported when they are called for, which is after usable()

from analysis.models.torchvision_ops import usable
from v2drop.models import locate

# Qwen2.5-VL-72B-Instruct, as config.json of its repository has it.
QWEN_72B = {
    "text_config": {
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 29568,
        "vocab_size": 152064,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3456,
        "num_heads": 16,
        "out_hidden_size": 8192,
    },
    "tie_word_embeddings": False,
}


def qwen_72b() -> transformers.PreTrainedConfig:
    """The configuration of Qwen2.5-VL-72B."""
    usable()
    return transformers.Qwen2_5_VLConfig(**QWEN_72B)


def footprint(config: transformers.PreTrainedConfig, dtype: torch.dtype = torch.bfloat16) -> pd.DataFrame:
    """What lies in memory, without activations: one row a part.

    Args:
        config: of a supported family.
        dtype: of parameters and cache.

    Returns:
        columns `part` ("vision": tower and projector, "layers" of the decoder, "embeddings": of tokens, the final norm
        and the head; "all" of these; "cache": keys and values of one token in all layers), `numbers` and `bytes`.
    """
    usable()
    with torch.device("meta"):
        text = config.get_text_config() is config
        kind = transformers.AutoModelForCausalLM if text else transformers.AutoModelForImageTextToText
        model = kind.from_config(config)
    parts = locate(model)
    whole, layers, decoder = (_count(module) for module in (model, parts.layers, parts.decoder))
    head = _count(parts.head) if not _tied(model) else 0
    counts = {"vision": whole - decoder - head, "layers": layers, "embeddings": decoder - layers + head, "all": whole}
    own = config.get_text_config()
    width = getattr(own, "head_dim", None) or own.hidden_size // own.num_attention_heads
    counts["cache"] = 2 * own.num_hidden_layers * own.num_key_value_heads * width
    frame = pd.DataFrame({"part": counts.keys(), "numbers": counts.values()})
    return frame.assign(bytes=frame.numbers * dtype.itemsize)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tied(model: torch.nn.Module) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight
