"""A folder as that of SmolLM2, with a random decoder of two layers: what a graft needs, without the package index."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from analysis.models.checkpoints.graft import IMAGE

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE]


def write(folder):
    """Save model and tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(BYTES) + len(SPECIAL),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=len(BYTES) + 1,
        eos_token_id=len(BYTES) + 2,
        pad_token_id=len(BYTES) + 2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    core = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(BYTES)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(SPECIAL)
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(folder)
