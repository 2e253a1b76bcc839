"""Which attention operators can run here."""

from __future__ import annotations

from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import (
    is_flash_attn_2_available,
    is_flash_attn_3_available,
    is_flash_attn_4_available,
    is_torch_flex_attn_available,
)

NEEDS = {  # each of transformers' own tests looks for the package and for a GPU that it runs on
    "flash_attention_2": is_flash_attn_2_available,
    "flash_attention_3": is_flash_attn_3_available,
    "flash_attention_4": is_flash_attn_4_available,
    "flex_attention": is_torch_flex_attn_available,
}


def operators() -> list[str]:
    """Names that `attn_implementation` may have here: built in, installed, or registered with transformers."""
    known = ["eager", *sorted(name for name in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in name)]
    return [name for name in known if name not in NEEDS or NEEDS[name]()]


def check_operator(name: str) -> str:
    """The name, if it may be used.

    Raises:
        ValueError: it is unknown, or its package or GPU is not there.
    """
    if name in operators():
        return name
    why = "not installed here, or there is no GPU for it" if name in NEEDS else "no operator of this name is known"
    raise ValueError(f"attn_implementation must be one of {', '.join(operators())}; got {name!r}: {why}.")
