"""A model's decoder as functions of hidden states: frozen parameters, one dtype, attention that has derivatives."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.residual_stream.quantised_weights import plain_modules
from v2drop.arguments import one_of, whole_numbers
from v2drop.models.parts import ModelParts, locate

OUTPUTS = ("hidden", "logits")
DERIVATIVE_DTYPES = (torch.float32, torch.float64)


@contextmanager
def differentiable_attention(model: nn.Module) -> Iterator[None]:
    """Run the decoder on an attention operator that has derivatives; restore the model's own on exit.

    SDPA takes any mask in any dtype, and its mathematical back end is differentiable twice and in forward mode; flash
    kernels are not (pytorch#128971). A decoder on eager attention stays on it: it has these derivatives as well, but
    computes its softmax in float32.
    """
    config = locate(model).decoder.config
    operator = config._attn_implementation
    config._attn_implementation = operator if operator == "eager" else "sdpa"
    device = next(model.parameters()).device.type
    try:  # inference mode forbids derivatives, autocast rounds
        with torch.inference_mode(False), torch.autocast(device, enabled=False):
            yield
    finally:
        config._attn_implementation = operator


class FrozenDecoder:
    """Decoder layers, final norm and language-model head as functions; the model's own weights stay untouched.

    Args:
        model: A model of a supported family.
        dtype: torch.float32 or torch.float64. Parameters of another dtype are copied once, and so are quantised weights
            that can be taken back exactly (`analysis.residual_stream.quantised_weights`).
        output: "hidden" for the hidden state after the final norm, "logits" for the logits.
        candidates: Token ids whose logits are kept; None for all.

    Raises:
        ValueError: An argument is none of these, the model has no head for logits, its layers are not functions of
            hidden states alone, or its weights are quantised in a way that cannot be taken back exactly.
    """

    def __init__(
        self, model: nn.Module, dtype: torch.dtype, output: str, candidates: Sequence[int] | None = None
    ) -> None:
        """Copy and freeze the modules."""
        self.parts: ModelParts = locate(model)
        _check_arguments(self.parts, dtype, output, candidates)
        self.dtype, self.output = dtype, output
        config, head = self.parts.decoder.config, self.parts.lm_head
        self.lm_head = None if head is None else _frozen(head, "head", dtype, config)
        self.candidates = _token_ids(candidates, self.lm_head)
        layers = enumerate(self.parts.layers)
        self.layers = [_frozen(layer, f"layers.{number}", dtype, config) for number, layer in layers]
        self.norm = _frozen(self.parts.decoder.norm, "norm", dtype, config)

    @property
    def label(self) -> str:
        """The name of the output in frames."""
        return self.output if self.candidates is None else f"logits of {len(self.candidates)}"

    def output_at(self, states: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch out"]:
        """The output y at some positions, from what the last layer writes there."""
        return self.norm(states) if self.output == "hidden" else self.logits(states, self.candidates)

    def logits(
        self, states: Float[Tensor, "batch dim"], candidates: list[int] | None = None
    ) -> Float[Tensor, "batch out"]:
        """Logits of all token ids, or of `candidates`, at some positions, from what the last layer writes there."""
        logits = self.lm_head(self.norm(states))
        return logits if candidates is None else logits[:, candidates]

    def log_probability(self, states: Float[Tensor, "batch dim"], token: int) -> Float[Tensor, " batch"]:
        """The log probability (nats, float64) of a token id as the next token, from what the last layer writes."""
        return self.logits(states).double().log_softmax(-1)[:, token]


def _frozen(module: nn.Module, where: str, dtype: torch.dtype, config: Any) -> nn.Module:
    """A copy with parameters in one dtype and without gradients; memory is shared with those that have the dtype.

    Args:
        module: A module of the decoder.
        where: The module's name in messages.
        dtype: The dtype of the parameters.
        config: The decoder's configuration, which is not copied: its attention operator is switched outside.

    Raises:
        ValueError: As for `plain_modules`.
    """
    instead: dict[int, Any] = {id(config): config, **plain_modules(module, where, dtype)}
    for part in module.modules():
        if id(part) not in instead:
            for p in part.parameters(recurse=False):
                instead[id(p)] = nn.Parameter(p.detach().to(dtype), requires_grad=False)
    return copy.deepcopy(module, instead)


def _check_arguments(parts: ModelParts, dtype: torch.dtype, output: str, candidates: Sequence[int] | None) -> None:
    if any(parts.sliding_windows) or parts.deepstack:
        raise ValueError(
            "all layers must see the same tokens, and nothing may be added between them; got "
            f"{'sliding windows' if any(parts.sliding_windows) else 'deepstack features'} in a decoder of type "
            f"{parts.decoder.config.model_type!r}. Dropping works there, this analysis does not."
        )
    if dtype not in DERIVATIVE_DTYPES:
        raise ValueError(f"dtype must be torch.float32 or torch.float64, for derivatives need the digits; got {dtype}.")
    one_of("output", output, OUTPUTS)
    if output == "hidden" and candidates is not None:
        raise ValueError('candidates are token ids to read logits of; pass them with output="logits".')
    if parts.lm_head is None and output == "logits":
        raise ValueError("the model has no language-model head to give logits; allowed: output='hidden'.")


def _token_ids(candidates: Sequence[int] | None, head: nn.Module | None) -> list[int] | None:
    """Token ids, ascending, after a check that the head has logits of them; None for None."""
    return None if candidates is None else list(whole_numbers("candidates", candidates, 0, len(head.weight) - 1))
