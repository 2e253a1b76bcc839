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
    receiver: str = ""
    placeholders: tuple[str, ...] = ("image_token_id",)
    tower: str = ""
    projector: str = ""
    takes: tuple[str, ...] = ("image", "images")
    operators: tuple[str, ...] = ("eager", "sdpa", "flash")
    example: str = ""
    note: str = ""


LLAVA = "model.language_model"
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
