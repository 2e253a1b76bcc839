"""An operator that takes masks as the flash operators do (none, or 2-D) and computes by SDPA: no GPU is needed."""

from functools import cache

import torch
from toys import FAMILIES
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "flash_emulated"


def attend(module, query, key, value, attention_mask, is_causal=None, **kwargs):
    queries, keys = query.shape[2], key.shape[2]
    assert attention_mask is None or attention_mask.shape == (len(query), keys), "the flash operators take 2-D masks"
    seen = torch.ones(keys, keys, dtype=torch.bool).tril()[-queries:][None, None]
    if attention_mask is not None:
        itself = torch.eye(keys, dtype=torch.bool)[-queries:]  # padding attends to something; nobody reads it
        seen = seen & attention_mask[:, None, None].bool() | itself
    return sdpa_attention_forward(module, query, key, value, seen, **kwargs)


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, flash_attention_mask)


@cache
def flashing(family):
    """A toy whose decoder runs the operator; its weights are those of `toys.toy`."""
    torch.manual_seed(sum(map(ord, family)))
    model = FAMILIES[family]().eval().requires_grad_(False)
    decoder = getattr(model.model, "language_model", model.model)
    for config in {
        id(module.config): module.config for module in decoder.modules() if hasattr(module, "config")
    }.values():
        config._attn_implementation = NAME
    return model
