"""The real processor of every family, at the sizes of the zoo's models; nothing is downloaded."""

from collections.abc import Callable

import transformers as hf

from tests.support.zoo_models import PINPOINTS
from tests.support.zoo_words import tokenizer

SQUARE = {"height": 16, "width": 16}
CROPPED = {"size": {"shortest_edge": 16}, "crop_size": SQUARE}
CLIP = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
GRID = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
PIXELS = {"size": {"shortest_edge": 32 * 32, "longest_edge": 32 * 96}}  # four to twelve tokens a picture
FRAMES = {"size": {"shortest_edge": 32 * 32, "longest_edge": 4 * 32 * 48}, "do_sample_frames": False}
TILES = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}


def _llava() -> hf.LlavaProcessor:
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return hf.LlavaProcessor(images, tokenizer("llava"), **CLIP)


def _llava_next() -> hf.LlavaNextProcessor:
    images = hf.LlavaNextImageProcessor(**CROPPED, image_grid_pinpoints=PINPOINTS)
    return hf.LlavaNextProcessor(images, tokenizer("llava_next"), **CLIP)


def _llava_next_video() -> hf.LlavaNextVideoProcessor:
    return hf.LlavaNextVideoProcessor(
        video_processor=hf.LlavaNextVideoVideoProcessor(**CROPPED),
        image_processor=hf.LlavaNextImageProcessor(**CROPPED, image_grid_pinpoints=PINPOINTS),
        tokenizer=tokenizer("llava_next_video"),
        **CLIP,
    )


def _llava_onevision() -> hf.LlavaOnevisionProcessor:
    return hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=PINPOINTS),
        video_processor=hf.LlavaOnevisionVideoProcessor(size=SQUARE),
        tokenizer=tokenizer("llava_onevision"),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
    )


def _video_llava() -> hf.VideoLlavaProcessor:
    return hf.VideoLlavaProcessor(
        image_processor=hf.VideoLlavaImageProcessor(**CROPPED),
        video_processor=hf.VideoLlavaVideoProcessor(**CROPPED),
        tokenizer=tokenizer("video_llava"),
        **CLIP,
    )


def _qwen(processor: type, videos: type) -> Callable:
    def build():
        images = hf.Qwen2VLImageProcessor(**GRID, **PIXELS)
        return processor(images, tokenizer("qwen"), videos(**GRID, **FRAMES))

    return build


def _internvl() -> hf.InternVLProcessor:
    return hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=2),
        video_processor=hf.InternVLVideoProcessor(size=SQUARE),
        tokenizer=tokenizer("internvl"),
        image_seq_length=4,
    )


def _smolvlm() -> hf.SmolVLMProcessor:
    return hf.SmolVLMProcessor(
        hf.SmolVLMImageProcessor(**TILES),
        tokenizer("smolvlm"),
        hf.SmolVLMVideoProcessor(**TILES, num_frames=2, fps=1),
        image_seq_len=4,
    )


def _idefics3() -> hf.Idefics3Processor:
    return hf.Idefics3Processor(hf.Idefics3ImageProcessor(**TILES), tokenizer("idefics3"), image_seq_len=4)


def _gemma3() -> hf.Gemma3Processor:
    return hf.Gemma3Processor(hf.Gemma3ImageProcessor(size=SQUARE), tokenizer("gemma3"), image_seq_length=16)


def _paligemma() -> hf.PaliGemmaProcessor:
    images = hf.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = 16
    return hf.PaliGemmaProcessor(images, tokenizer("paligemma"))


PROCESSORS: dict[str, Callable] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_next_video": _llava_next_video,
    "llava_onevision": _llava_onevision,
    "video_llava": _video_llava,
    "qwen2_vl": _qwen(hf.Qwen2VLProcessor, hf.Qwen2VLVideoProcessor),
    "qwen2_5_vl": _qwen(hf.Qwen2_5_VLProcessor, hf.Qwen2VLVideoProcessor),
    "qwen3_vl": _qwen(hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor),
    "qwen3_vl_moe": _qwen(hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor),
    "internvl": _internvl,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "gemma3": _gemma3,
    "paligemma": _paligemma,
    "paligemma2": _paligemma,
}
IMAGE_WORDS = {"gemma3": "<start_of_image>", "internvl": "<IMG_CONTEXT>"}
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% elif part['type'] == 'video' %}VIDEO{% endif %}{{ part['text'] }}"
    "{% endfor %}{% endfor %}"
)
QWEN = ("<|vision_start|>{}<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def words(name: str) -> dict[str, str]:
    """What stands in a prompt for a picture ("i") and for a video ("v")."""
    if name.startswith("qwen"):
        return {"i": QWEN[0].format(QWEN[1]), "v": QWEN[0].format(QWEN[2])}
    return {"i": IMAGE_WORDS.get(name, "<image>"), "v": "<video>"}


def template(name: str) -> str:
    """A chat template that writes nothing but what a message holds."""
    return TEMPLATE.replace("IMAGE", words(name)["i"]).replace("VIDEO", words(name)["v"])
