"""A tiny random model of every family's real class, from its config. Larger than life: weights big enough to matter."""

from collections.abc import Callable

import torch
import transformers as hf

from tests.support.zoo_words import ID, VOCABULARY
from v2drop.contract import toys

WIDTH, LAYERS, STD = toys.WIDTH, toys.LAYERS, 0.15
WINDOW = 8  # smaller than any prompt with a picture, so that windows cut
SLIDING, FULL = "sliding_attention", "full_attention"
TEXT = toys.TEXT | {
    "vocab_size": VOCABULARY,
    "initializer_range": STD,
    "pad_token_id": ID["<pad>"],
    "bos_token_id": ID["<bos>"],
}
GEMMA = TEXT | {"head_dim": 8}
GEMMAS = GEMMA | {"sliding_window": WINDOW, "query_pre_attn_scalar": 8}
TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": STD,
    "image_size": 16,
}
PINPOINTS = [[16, 32], [32, 16], [32, 32]]
LLAVA_IDS = {"image_token_index": ID["<image>"], "initializer_range": STD}
VIDEO_IDS = LLAVA_IDS | {"video_token_index": ID["<video>"]}
QWEN_IDS = {
    "image_token_id": ID["<|image_pad|>"],
    "video_token_id": ID["<|video_pad|>"],
    "vision_start_token_id": ID["<|vision_start|>"],
    "vision_end_token_id": ID["<|vision_end|>"],
}
QWEN_TOWER = {"depth": 3, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "initializer_range": STD}
DEEPSTACK = QWEN_TOWER | {
    "hidden_size": WIDTH,
    "out_hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0, 1],
}


def _clip(image_size: int = 16) -> hf.CLIPVisionConfig:
    return hf.CLIPVisionConfig(**TOWER | {"image_size": image_size}, patch_size=8)


def _siglip(patch_size: int, **more) -> hf.SiglipVisionConfig:
    return hf.SiglipVisionConfig(**TOWER, patch_size=patch_size, vision_use_head=False, **more)


def _mrope(section: list[int], **more) -> dict:
    return {"rope_type": "default", "mrope_section": section, "rope_theta": 1e4} | more


def _llava_next_video():
    config = hf.LlavaNextVideoConfig(
        vision_config=_clip(), text_config=hf.LlamaConfig(**TEXT), image_grid_pinpoints=PINPOINTS, **VIDEO_IDS
    )
    return hf.LlavaNextVideoForConditionalGeneration(config)


def _llava_onevision():
    config = hf.LlavaOnevisionConfig(
        vision_config=_siglip(8), text_config=hf.Qwen2Config(**TEXT), image_grid_pinpoints=PINPOINTS, **VIDEO_IDS
    )
    return hf.LlavaOnevisionForConditionalGeneration(config)


def _qwen2_vl():
    vision = QWEN_TOWER | {"embed_dim": WIDTH, "hidden_size": WIDTH, "mlp_ratio": 2}
    text = TEXT | {"rope_parameters": _mrope([1, 1, 2])}
    return hf.Qwen2VLForConditionalGeneration(hf.Qwen2VLConfig(text_config=text, vision_config=vision, **QWEN_IDS))


def _qwen2_5_vl():
    vision = QWEN_TOWER | {"hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 48}
    vision |= {"window_size": 32, "fullatt_block_indexes": [1]}
    text = TEXT | {"rope_parameters": _mrope([1, 1, 2])}
    return hf.Qwen2_5_VLForConditionalGeneration(
        hf.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **QWEN_IDS)
    )


def _qwen3_vl():
    text = TEXT | {"head_dim": 8, "rope_parameters": _mrope([2, 1, 1], mrope_interleaved=True)}
    return hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(text_config=text, vision_config=DEEPSTACK, **QWEN_IDS))


def _qwen3_vl_moe():
    text = TEXT | {"head_dim": 8, "rope_parameters": _mrope([2, 1, 1], mrope_interleaved=True)}
    text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
    return hf.Qwen3VLMoeForConditionalGeneration(
        hf.Qwen3VLMoeConfig(text_config=text, vision_config=DEEPSTACK, **QWEN_IDS)
    )


def _internvl():
    vision = hf.InternVLVisionConfig(**TOWER | {"image_size": [16, 16]}, patch_size=[4, 4])
    return hf.InternVLForConditionalGeneration(
        hf.InternVLConfig(
            vision_config=vision,
            text_config=hf.Qwen2Config(**TEXT),
            image_token_id=ID["<IMG_CONTEXT>"],
            image_seq_length=4,
        )
    )


def _idefics(model: type, config: type) -> Callable:
    def build():
        ids = {"image_token_id": ID["<image>"], "pad_token_id": ID["<pad>"]}
        return model(
            config(vision_config=TOWER | {"patch_size": 4}, text_config=hf.LlamaConfig(**TEXT), scale_factor=2, **ids)
        )

    return build


def _gemma3():
    kinds = [SLIDING, FULL, SLIDING, SLIDING, FULL]
    text = hf.Gemma3TextConfig(**GEMMAS, layer_types=kinds)
    ids = {"boi_token_index": ID["<start_of_image>"], "eoi_token_index": ID["<end_of_image>"]}
    config = hf.Gemma3Config(
        vision_config=_siglip(2),
        text_config=text,
        mm_tokens_per_image=16,  # more than the window
        image_token_index=ID["<image_soft_token>"],
        initializer_range=STD,
        **ids,
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=STD)  # made as zeros
    return model


def _paligemma(text: Callable) -> Callable:
    def build():
        return hf.PaliGemmaForConditionalGeneration(
            hf.PaliGemmaConfig(
                vision_config=_siglip(4, projection_dim=WIDTH),
                text_config=text(),
                projection_dim=WIDTH,
                hidden_size=WIDTH,
                vocab_size=VOCABULARY,
                **LLAVA_IDS,
            )
        )

    return build


def _llava(model: type, config: type, size: int = 16, **more) -> Callable:
    return lambda: model(config(vision_config=_clip(size), text_config=hf.LlamaConfig(**TEXT), **more))


def _windowed() -> dict:
    return TEXT | {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 2}


BUILD: dict[str, Callable] = {
    "llava": _llava(hf.LlavaForConditionalGeneration, hf.LlavaConfig, 32, **LLAVA_IDS),
    "llava_next": _llava(
        hf.LlavaNextForConditionalGeneration, hf.LlavaNextConfig, image_grid_pinpoints=PINPOINTS, **LLAVA_IDS
    ),
    "llava_next_video": _llava_next_video,
    "llava_onevision": _llava_onevision,
    "video_llava": _llava(hf.VideoLlavaForConditionalGeneration, hf.VideoLlavaConfig, **VIDEO_IDS),
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl_moe,
    "internvl": _internvl,
    "smolvlm": _idefics(hf.SmolVLMForConditionalGeneration, hf.SmolVLMConfig),
    "idefics3": _idefics(hf.Idefics3ForConditionalGeneration, hf.Idefics3Config),
    "gemma3": _gemma3,
    "paligemma": _paligemma(lambda: hf.GemmaConfig(**GEMMA)),
    "paligemma2": _paligemma(lambda: hf.Gemma2Config(**GEMMAS, attn_logit_softcapping=5.0)),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**TEXT)),
    "qwen2_window": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**_windowed())),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**TEXT, head_dim=8)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**TEXT, sliding_window=None)),
    "mistral_window": lambda: hf.MistralForCausalLM(hf.MistralConfig(**TEXT, sliding_window=WINDOW)),
}
