"""Where each Hugging Face family keeps its decoder layers and its vision tokens: one entry each.

To add a family, add an entry to FAMILIES under its `config.model_type`. What is assumed of a family: its decoder is of
a type in `v2drop.models.decoders.TEXT_MODELS`, a module with `layers`, called in turn on hidden states of [batch,
length, dim], each given `attention_mask`, `position_ids`, `position_embeddings` and `past_key_values` by keyword.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    vlm_module: str = ""
    placeholders: tuple[str, ...] = ("image_token_id",)
    vision_tower: str = ""
    projector: str = ""
    inputs: tuple[str, ...] = ("image", "images")
    attention_operators: tuple[str, ...] = ("eager", "sdpa", "flash")
    example: str = ""
    remarks: str = ""


LANGUAGE_MODEL = "model.language_model"
WINDOWED_REMARK = "if its layers have sliding windows: eager, sdpa"
WITHOUT_FLASH = ("eager", "sdpa")  # flash operators know no windows over positions, and no tokens that see later ones
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
        example="llava-hf/llava-v1.6-mistral-7b-hf",
        remarks="tiles; newline tokens may be dropped too",
    ),
    "llava_next_video": Family(LANGUAGE_MODEL, "model", **VIDEO, example="llava-hf/LLaVA-NeXT-Video-7B-hf"),
    "llava_onevision": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        example="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        remarks="tiles and newline tokens",
    ),
    "video_llava": Family(LANGUAGE_MODEL, "model", **VIDEO, example="LanguageBind/Video-LLaVA-7B-hf"),
    "qwen2_vl": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        example="Qwen/Qwen2-VL-7B-Instruct",
        remarks="M-RoPE: ids of three axes are kept",
    ),
    "qwen2_5_vl": Family(LANGUAGE_MODEL, "model", **VIDEO, example="Qwen/Qwen2.5-VL-7B-Instruct", remarks="M-RoPE"),
    "qwen3_vl": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        example="Qwen/Qwen3-VL-8B-Instruct",
        remarks="M-RoPE; deepstack features go to survivors",
    ),
    "qwen3_vl_moe": Family(
        LANGUAGE_MODEL,
        "model",
        **VIDEO,
        example="Qwen/Qwen3-VL-30B-A3B-Instruct",
        remarks="M-RoPE; deepstack; mixture of experts",
    ),
    "internvl": Family(
        LANGUAGE_MODEL,
        "model",
        inputs=("image", "images", "video"),
        example="OpenGVLab/InternVL3-8B-hf",
        remarks="tiles; frames of a video are pictures",
    ),
    "smolvlm": Family(
        "model.text_model",
        "model",
        inputs=("image", "images", "video"),
        example="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        remarks="tiles, with text between them; frames of a video are pictures",
    ),
    "idefics3": Family("model.text_model", "model", example="HuggingFaceM4/Idefics3-8B-Llama3", remarks="tiles"),
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
