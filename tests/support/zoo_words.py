"""The tokenizer of every model of the zoo: bytes, then the special tokens of all families; nothing is downloaded."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = [
    "<pad>",
    "<bos>",
    "<eos>",
    "<image>",
    "<video>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<IMG_CONTEXT>",
    "<img>",
    "</img>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
    *(f"<row_{i}_col_{j}>" for i in (1, 2) for j in (1, 2)),
]
ID = {token: len(BYTES) + i for i, token in enumerate(SPECIAL)}
VOCABULARY = 288  # of the models; at least as many as there are tokens
NAMED = {  # what a family's processor asks its tokenizer for by name
    "internvl": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    "gemma3": {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
    "paligemma": {"image_token": "<image>"},
}


@cache
def tokenizer(family: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(BYTES)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        extra_special_tokens=NAMED.get(family, {}),
    )
