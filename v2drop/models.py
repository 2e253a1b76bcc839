"""Where each Hugging Face family keeps its decoder layers and its vision tokens: one entry each.

To add a family, add an entry to FAMILIES under its `config.model_type`. What is assumed of a family: its decoder is of
a type in `v2drop.decoders.TEXT_MODELS`, a module with `layers`, called in turn on hidden states of [batch, length,
dim], each given `attention_mask`, `position_ids`, `position_embeddings` and `past_key_values` by keyword.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from v2drop import compiled
from v2drop.decoders import has_axes, has_deepstack, windows


@dataclass(frozen=True)
class Family:
    """Paths from the model a user holds, and what the README says of it.

    Attributes:
        decoder: to the module with `layers`.
        receiver: to the module that is given `input_ids` with placeholders; empty for text models, whose vision tokens
            the user names with `vision_mask`.
        placeholders: attributes of the config that hold the ids of placeholders.
        tower: to a CLIP vision tower with a class token; empty if there is none.
        projector: to the module that turns the tower's features into the decoder's.
        takes: "image", several "images" a prompt, "video".
        operators: of attention; "flash" stands for FlashAttention 2 to 4.
        example: a checkpoint on the hub.
        note: what is special about it, and how it is met.
    """

    decoder: str
    receiver: str = ""
    placeholders: tuple[str, ...] = ("image_token_id",)
    tower: str = ""
    projector: str = ""
    takes: tuple[str, ...] = ("image", "images")
    operators: tuple[str, ...] = ("eager", "sdpa", "flash")
    example: str = ""
    note: str = ""


LLAVA = "model.language_model"
CROSS_ATTENTION = ("mllama", "idefics")  # asked for often enough to be told why not
WINDOWS = "if its layers have sliding windows: eager, sdpa"
MASKED = ("eager", "sdpa")  # flash operators know no windows over positions, and no tokens that see later ones
VIDEO = {"placeholders": ("image_token_id", "video_token_id"), "takes": ("image", "images", "video")}

FAMILIES: dict[str, Family] = {
    "llava": Family(
        LLAVA,
        receiver="model",
        tower="model.vision_tower",
        projector="model.multi_modal_projector",
        example="llava-hf/llava-1.5-7b-hf",
    ),
    "llava_next": Family(
        LLAVA, "model", example="llava-hf/llava-v1.6-mistral-7b-hf", note="tiles; newline tokens may be dropped too"
    ),
    "llava_next_video": Family(LLAVA, "model", **VIDEO, example="llava-hf/LLaVA-NeXT-Video-7B-hf"),
    "llava_onevision": Family(
        LLAVA, "model", **VIDEO, example="llava-hf/llava-onevision-qwen2-7b-ov-hf", note="tiles and newline tokens"
    ),
    "video_llava": Family(LLAVA, "model", **VIDEO, example="LanguageBind/Video-LLaVA-7B-hf"),
    "qwen2_vl": Family(
        LLAVA, "model", **VIDEO, example="Qwen/Qwen2-VL-7B-Instruct", note="M-RoPE: ids of three axes are kept"
    ),
    "qwen2_5_vl": Family(LLAVA, "model", **VIDEO, example="Qwen/Qwen2.5-VL-7B-Instruct", note="M-RoPE"),
    "qwen3_vl": Family(
        LLAVA, "model", **VIDEO, example="Qwen/Qwen3-VL-8B-Instruct", note="M-RoPE; deepstack features go to survivors"
    ),
    "qwen3_vl_moe": Family(
        LLAVA, "model", **VIDEO, example="Qwen/Qwen3-VL-30B-A3B-Instruct", note="M-RoPE; deepstack; mixture of experts"
    ),
    "internvl": Family(
        LLAVA,
        "model",
        takes=("image", "images", "video"),
        example="OpenGVLab/InternVL3-8B-hf",
        note="tiles; frames of a video are pictures",
    ),
    "smolvlm": Family(
        "model.text_model",
        "model",
        takes=("image", "images", "video"),
        example="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        note="tiles, with text between them; frames of a video are pictures",
    ),
    "idefics3": Family("model.text_model", "model", example="HuggingFaceM4/Idefics3-8B-Llama3", note="tiles"),
    "gemma3": Family(
        LLAVA,
        "model",
        operators=MASKED,
        example="google/gemma-3-4b-it",
        note="sliding windows; tokens of a picture see each other",
    ),
    "paligemma": Family(
        LLAVA,
        "model",
        operators=MASKED,
        example="google/paligemma2-3b-mix-224",
        note="a prompt sees all of itself; PaliGemma 2 has no sdpa",
    ),
    "llama": Family("model", takes=()),
    "qwen2": Family("model", takes=(), note=WINDOWS),
    "qwen3": Family("model", takes=(), note=WINDOWS),
    "mistral": Family("model", takes=(), note=WINDOWS),
}


@dataclass(frozen=True)
class Parts:
    """The modules of one model that dropping hooks into.

    Attributes:
        decoder: calls the layers in turn.
        layers: the decoder layers.
        receiver: is given `input_ids`; None for text models.
        vision_ids: of the placeholders of pictures and videos; empty for text models.
        head: gives logits; None if the model has none.
        tower, projector: of the pictures; None for text models.
        feature_layer: which layer of the tower, from 0, gives the features.
        windows: how many columns back each decoder layer sees, itself included; None: all.
        axes: position ids are places in time, height and width (M-RoPE).
        deepstack: the decoder adds features of pictures after some of its layers.
        operators: of attention, that can do what its layers ask for (`Family`).
    """

    decoder: nn.Module
    layers: nn.ModuleList
    receiver: nn.Module | None
    vision_ids: tuple[int, ...]
    head: nn.Module | None
    tower: nn.Module | None
    projector: nn.Module | None
    feature_layer: int
    windows: tuple[int | None, ...]
    axes: bool
    deepstack: bool
    operators: tuple[str, ...]


def locate(model: nn.Module) -> Parts:
    """Find the parts of a supported model.

    Raises:
        ValueError: the model is compiled, of an unsupported family, has layers of an unknown kind, or is not the class
            with the language-model head.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be as transformers loads it (loaded.model); got {type(model).__name__}.")
    compiled.refuse(model)
    name = getattr(getattr(model, "config", None), "model_type", None)
    if name in CROSS_ATTENTION:
        raise ValueError(
            f"{type(model).__name__} cannot drop vision tokens: they are no part of its sequence, layers of "
            f"cross-attention read them from beside it. Allowed: {', '.join(FAMILIES)}."
        )
    if name not in FAMILIES:
        raise ValueError(
            f"{type(model).__name__} (model_type {name!r}) is not supported; allowed: {', '.join(FAMILIES)}. "
            "v2drop/models.py says how to add a family."
        )
    family = FAMILIES[name]
    try:
        decoder = model.get_submodule(family.decoder)
        layers = decoder.get_submodule("layers")
        receiver = model.get_submodule(family.receiver) if family.receiver else None
    except AttributeError as error:
        raise ValueError(
            f"{type(model).__name__} has no {family.decoder}.layers; pass the model with its language-model head, "
            "as AutoModelForImageTextToText or AutoModelForCausalLM load it."
        ) from error
    ids = tuple(getattr(model.config, name) for name in family.placeholders) if receiver is not None else ()
    pictures, kinds = _pictures(model, family), (windows(decoder), has_axes(decoder), has_deepstack(decoder))
    kinds += (MASKED if any(kinds[0]) else family.operators,)
    return Parts(decoder, layers, receiver, ids, model.get_output_embeddings(), *pictures, *kinds)


def is_vision(ids: Tensor, vision_ids: tuple[int, ...]) -> Tensor:
    """Which ids are placeholders of pictures or videos, as flags of the same shape."""
    return sum((ids == vision for vision in vision_ids), torch.zeros_like(ids, dtype=torch.bool))


def _pictures(model: nn.Module, family: Family) -> tuple[nn.Module | None, nn.Module | None, int]:
    """The tower, the projector and the feature layer, if it is a CLIP tower that gives the features of one layer."""
    tower = model.get_submodule(family.tower) if family.tower else None
    number = getattr(model.config, "vision_feature_layer", None)
    if getattr(tower, "config", None) is None or tower.config.model_type != "clip_vision_model":
        return None, None, 0
    if not isinstance(number, int) or number == 0 or model.config.vision_feature_select_strategy != "default":
        return None, None, 0
    # hidden_states[0] enters the first layer, hidden_states[i] is the output of layer i - 1.
    layer = number - 1 if number > 0 else tower.config.num_hidden_layers + number
    return tower, model.get_submodule(family.projector), layer
