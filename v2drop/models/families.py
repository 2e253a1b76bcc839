"""Supported Hugging Face families: where a model of each keeps its decoder and its vision tokens.

To add a family, add an entry to FAMILIES under its `config.model_type`. Requirements: the decoder's type is in
`v2drop.models.decoders.TEXT_MODELS`. The decoder has `layers` and calls them in turn on hidden states [batch, length,
dim], with `attention_mask`, `position_ids`, `position_embeddings` and `past_key_values` as keyword arguments.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Paths of a family's modules from the model a user loads, and its row in the README's table.

    Attributes:
        decoder: path of the module with `layers`.
        vlm_module: path of the module that takes `input_ids` with placeholders (the model without its head); empty for
            text models, whose users mark vision tokens with `vision_mask`.
        placeholders: names of the config attributes that hold the placeholders' token ids.
        vision_tower: path of a CLIP vision tower with a class token; empty if the family has none.
        projector: path of the module that maps the tower's features to the decoder's embeddings; empty without such a
            tower.
        inputs: kinds of input of one prompt: "image", "images" (several), "video".
        attention_operators: supported attention operators; "flash" means FlashAttention 2 to 4.
        layout: how the tokens of a picture lie on it, a key of `analysis.models.token_grids.LAYOUTS`.
        example: a checkpoint on the Hugging Face hub; empty for text models.
        remarks: peculiarities, in the words of the README's table.
    """

    decoder: str
    vlm_module: str = ""
    placeholders: tuple[str, ...] = ("image_token_id",)
    vision_tower: str = ""
    projector: str = ""
    inputs: tuple[str, ...] = ("image", "images")
    attention_operators: tuple[str, ...] = ("eager", "sdpa", "flash")
    layout: str = "square"
    example: str = ""
    remarks: str = ""


LANGUAGE_MODEL = "model.language_model"
WINDOWED_REMARK = "if its layers have sliding windows: eager, sdpa"
WITHOUT_FLASH = ("eager", "sdpa")  # FlashAttention counts windows over remaining tokens, and attends causally only
VIDEO = {"placeholders": ("image_token_id", "video_token_id"), "inputs": ("image", "images", "video")}

FAMILIES: dict[str, Family] = {
    "llava": Family(
        LANGUAGE_MODEL,
        vlm_module="model",
        vision_tower="model.vision_tower",
        projector="model.multi_modal_projector",
        example="llava-hf/llava-1.5-7b-hf",
    ),
    "llava_next": Family(
        LANGUAGE_MODEL,
        "model",
        layout="base and lines",
        example="llava-hf/llava-v1.6-mistral-7b-hf",
        remarks="tiles; newline tokens may be dropped too",
    ),
    "llava_next_video": Family(
        LANGUAGE_MODEL, "model", **VIDEO, layout="base and lines", example="llava-hf/LLaVA-NeXT-Video-7B-hf"
    ),
    "llava_onevision": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        layout="base and lines",
        example="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        remarks="tiles and newline tokens",
    ),
    "video_llava": Family(LANGUAGE_MODEL, "model", **VIDEO, example="LanguageBind/Video-LLaVA-7B-hf"),
    "qwen2_vl": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        layout="merged patches",
        example="Qwen/Qwen2-VL-7B-Instruct",
        remarks="M-RoPE: ids of three axes are kept",
    ),
    "qwen2_5_vl": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        layout="merged patches",
        example="Qwen/Qwen2.5-VL-7B-Instruct",
        remarks="M-RoPE",
    ),
    "qwen3_vl": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        layout="merged patches",
        example="Qwen/Qwen3-VL-8B-Instruct",
        remarks="M-RoPE; deepstack features go to survivors",
    ),
    "qwen3_vl_moe": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        layout="merged patches",
        example="Qwen/Qwen3-VL-30B-A3B-Instruct",
        remarks="M-RoPE; deepstack; mixture of experts",
    ),
    "internvl": Family(
        LANGUAGE_MODEL,
        "model",
        inputs=("image", "images", "video"),
        layout="tiles and thumbnail",
        example="OpenGVLab/InternVL3-8B-hf",
        remarks="tiles; frames of a video are pictures",
    ),
    "smolvlm": Family(
        "model.text_model",
        "model",
        inputs=("image", "images", "video"),
        layout="tiles in text",
        example="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        remarks="tiles, with text between them; frames of a video are pictures",
    ),
    "idefics3": Family(
        "model.text_model", "model", layout="tiles in text", example="HuggingFaceM4/Idefics3-8B-Llama3", remarks="tiles"
    ),
    "gemma3": Family(
        LANGUAGE_MODEL,
        "model",
        attention_operators=WITHOUT_FLASH,
        example="google/gemma-3-4b-it",
        remarks="sliding windows; tokens of a picture see each other",
    ),
    "paligemma": Family(
        LANGUAGE_MODEL,
        "model",
        attention_operators=WITHOUT_FLASH,
        example="google/paligemma2-3b-mix-224",
        remarks="a prompt sees all of itself; PaliGemma 2 has no sdpa",
    ),
    "llama": Family("model", inputs=()),
    "qwen2": Family("model", inputs=(), remarks=WINDOWED_REMARK),
    "qwen3": Family("model", inputs=(), remarks=WINDOWED_REMARK),
    "mistral": Family("model", inputs=(), remarks=WINDOWED_REMARK),
}
