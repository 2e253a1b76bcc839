"""Tiny random models of the real classes, and prompts for them. Larger than life: weights big enough to matter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from v2drop.models.torchvision_ops import usable

usable()  # before classes of transformers are imported

from transformers import (  # noqa: E402
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
)

LAYERS, WIDTH, VOCABULARY, IMAGE_ID = 5, 32, 64, 3
IMAGE_TOKENS = 16  # 4 x 4 patches
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,  # generation runs to its full length
}


def _llava() -> LlavaForConditionalGeneration:
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=5,  # four give the features: enough for sixteen patches to be halved down to one
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=IMAGE_ID)
    )


FAMILIES = {
    "llava": _llava,
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**TEXT)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**TEXT)),
}


@cache
def toy(family: str, operator: str = "sdpa") -> nn.Module:
    """One model per family and attention operator; the weights depend on the family only."""
    torch.manual_seed(sum(map(ord, family)))
    model = FAMILIES[family]().eval().requires_grad_(False)
    model.set_attn_implementation(operator)
    return model


@dataclass
class Batch:
    """A padded batch: what the model is called with, and what a check needs to know about it.

    Attributes:
        inputs: arguments of the model.
        vision: flags of the vision tokens, bool [batch, length].
        options: arguments of the method's call: vision_mask for text models.
    """

    inputs: dict[str, Tensor]
    vision: Tensor
    options: dict[str, Tensor]

    @property
    def present(self) -> Tensor:
        """Flags of the columns that are no padding, bool [batch, length]."""
        return self.inputs["attention_mask"].bool()

    @property
    def positions(self) -> Tensor:
        """Position ids, int [batch, length]: counted from each row's first token."""
        return (self.present.cumsum(1) - 1).clamp(min=0)

    @property
    def last(self) -> list[int]:
        """Column of each row's last token."""
        return [int(row.nonzero().max()) for row in self.present]


def batch(family: str, rows: list[str], side: str = "left", seed: int = 0) -> Batch:
    """Rows as patterns: "t" is a text token, "v" a vision token, "i" a whole image (llava only).

    For llava, "v" is refused: its vision tokens come in images.
    """
    torch.manual_seed(seed)
    plain = [row.replace("i", "v" * IMAGE_TOKENS) for row in rows]
    length = max(map(len, plain))
    ids, present, vision = (torch.zeros(len(rows), length, dtype=torch.long) for _ in range(3))
    for i, row in enumerate(plain):
        place = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        is_vision = torch.tensor([c == "v" for c in row])
        tokens = torch.randint(IMAGE_ID + 1, VOCABULARY, (len(row),))
        ids[i, place] = torch.where(is_vision, IMAGE_ID, tokens) if family == "llava" else tokens
        present[i, place], vision[i, place] = 1, is_vision.long()
    inputs = {"input_ids": ids, "attention_mask": present}
    if family == "llava":
        n_images = sum(row.count("i") for row in rows)
        if n_images:
            inputs["pixel_values"] = torch.randn(n_images, 3, 32, 32)
        return Batch(inputs, vision.bool(), {})
    return Batch(inputs, vision.bool(), {"vision_mask": vision.bool()})
