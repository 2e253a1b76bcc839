"""The memory of parameters and KV cache, counted on a model without weights."""

from __future__ import annotations

import pandas as pd
import torch
import transformers  # its classes are imported lazily at their first use, which is after usable()

from v2drop.arguments import one_of
from v2drop.models.families import FAMILIES
from v2drop.models.parts import locate
from v2drop.models.torchvision_ops import usable

# The configuration of Qwen2.5-VL-72B-Instruct: config.json of its repository.
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
    """The sizes of a model's parts and of its KV cache; activations are not counted.

    Args:
        config: The configuration of a model of a supported family.
        dtype: The dtype of parameters and cache.

    Returns:
        One row per part: part, numbers, bytes. The parts are "vision" (tower and projector), "layers" (of the decoder),
        "embeddings" (of tokens, with the final norm and the head), "all" (the sum of these), and "cache" (keys and
        values of a single token in all layers).

    Raises:
        ValueError: `config` is no configuration, or one of a family that is not supported; `dtype` is no dtype.
    """
    usable()
    if not isinstance(config, transformers.PreTrainedConfig):
        raise ValueError(
            f"config must be the configuration of a model, as loaded.model.config; got a {type(config).__name__}."
        )
    one_of("config.model_type", config.model_type, FAMILIES)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype must be one of torch's, such as torch.bfloat16; got {dtype!r}.")
    with torch.device("meta"):
        text = config.get_text_config() is config
        kind = transformers.AutoModelForCausalLM if text else transformers.AutoModelForImageTextToText
        model = kind.from_config(config)
    parts = locate(model)
    total, layers, decoder = (_count(module) for module in (model, parts.layers, parts.decoder))
    head = _count(parts.lm_head) if not _tied(model) else 0
    counts = {"vision": total - decoder - head, "layers": layers, "embeddings": decoder - layers + head, "all": total}
    own = config.get_text_config()
    width = getattr(own, "head_dim", None) or own.hidden_size // own.num_attention_heads
    counts["cache"] = 2 * own.num_hidden_layers * own.num_key_value_heads * width
    frame = pd.DataFrame({"part": counts.keys(), "numbers": counts.values()})
    return frame.assign(bytes=frame.numbers * dtype.itemsize)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tied(model: torch.nn.Module) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight
