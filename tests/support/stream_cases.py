"""The cases over which the residual stream is tested."""

from dataclasses import replace

import pytest
import torch
from hypothesis import strategies as st

from analysis.group_impact.answer_game import AnswerGame
from analysis.residual_stream.decoder_inputs import decoder_inputs
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.stream import Stream
from v2drop.contract.toys import FAMILIES

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
EVERY_OPERATOR = pytest.mark.parametrize("operator", ["eager", "sdpa"])
ROWS = {"llava": ["titt", "ittt"], "llama": ["tvvvvtt", "vvtvvvvvvt"], "qwen2": ["tvvvvtt", "vvtvvvvvvt"]}
NEAR = {"rtol": 1e-5, "atol": 1e-5}
REFUSED = {  # families whose layers are not functions of hidden states alone
    "gemma3": "sliding windows",
    "paligemma": "must be causal",
    "paligemma2": "sliding windows",
    "qwen2_window": "sliding windows",
    "mistral_window": "sliding windows",
    "qwen3_vl": "deepstack features",
    "qwen3_vl_moe": "deepstack features",
}


def masked(model, inputs, mask, form="boolean", output="hidden"):
    """The stream of one row whose layers were given this mask [length, length]."""
    network, entry = FrozenDecoder(model, torch.float64, output), decoder_inputs(model, inputs)
    if form == "additive":
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    return Stream(network, replace(entry, mask=mask[None, None]), 0, torch.arange(len(mask)))


def game_of(model, inputs, answer, dtype=torch.float32):
    """The answer's game of one prompt."""
    with differentiable_attention(model):
        return AnswerGame(FrozenDecoder(model, dtype, "logits"), model, inputs, answer)


def masks(length):
    """Every position sees itself; what else it sees is anybody's guess."""
    flags = st.lists(st.booleans(), min_size=length**2, max_size=length**2)
    return flags.map(lambda seen: torch.tensor(seen).view(length, length) | torch.eye(length).bool())
