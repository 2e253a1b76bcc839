"""FlashAttention without a GPU: transformers' own way of calling it, padding taken out and all, on plain kernels."""

from contextlib import contextmanager

import torch
from transformers import modeling_flash_attention_utils as utils
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from v2drop.contract.oracle import decoder_of

NAME = "flash_emulated"


def one(query, key, value, causal, softmax_scale):
    """One sequence, [columns, heads, dim]; the last query sees all keys, as in FlashAttention from 2.1 on."""
    seen = torch.ones(len(key), len(key), dtype=torch.bool).tril()[len(key) - len(query) :]
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    logits = torch.einsum("qhd,khd->hqk", query, key) * softmax_scale
    weights = (logits.masked_fill(~seen, -torch.inf) if causal else logits).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, value)


def dense(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):
    return torch.stack([one(*row, causal, softmax_scale) for row in zip(q, k, v, strict=True)])


def ragged(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, causal=False
):
    """Sequences laid end to end, as the padding-free call has them."""
    queries, keys = (ends.diff().tolist() for ends in (cu_seqlens_q, cu_seqlens_k))
    assert max(queries) <= max_seqlen_q and max(keys) <= max_seqlen_k
    rows = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
    return torch.cat([one(*row, causal, softmax_scale) for row in rows])


KERNELS = {
    "_loaded_implementation": NAME,
    "_flash_fn": dense,
    "_flash_varlen_fn": ragged,
    "_flash_with_kvcache_fn": None,
    "_pad_fn": utils._pad_input,
    "_unpad_fn": utils._unpad_input,
    "_process_flash_kwargs_fn": utils._lazy_define_process_function(ragged),
    "_process_with_kvcache_kwargs_fn": dict,
}
REGISTRIES = (
    (ALL_ATTENTION_FUNCTIONS, flash_attention_forward),
    (ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask),
)


@contextmanager
def flashing(model):
    """The model, its decoder on these kernels."""
    before = {name: getattr(utils, name, None) for name in KERNELS}
    configs = {id(m.config): m.config for m in decoder_of(model).modules() if hasattr(m, "config")}.values()
    operators = [config._attn_implementation for config in configs]
    try:
        for name, value in KERNELS.items():
            setattr(utils, name, value)
        for registry, function in REGISTRIES:
            registry.register(NAME, function)
        for config in configs:
            config._attn_implementation = NAME
        yield model
    finally:
        for config, operator in zip(configs, operators, strict=True):
            config._attn_implementation = operator
        for name, value in before.items():
            setattr(utils, name, value)
        for registry, _ in REGISTRIES:
            del registry._global_mapping[NAME]
