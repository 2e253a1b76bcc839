"""A model's decoder as functions of hidden states: frozen parameters, one dtype, an attention with derivatives."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from v2drop.models import Parts, locate

OUTPUTS = ("hidden", "logits")
DERIVATIVE_DTYPES = (torch.float32, torch.float64)


@contextmanager
def differentiable_attention(model: nn.Module) -> Iterator[None]:
    """Run the decoder on SDPA, whatever kernels the model was loaded with, and switch back.

    SDPA takes any mask in any dtype, and its mathematical back end is differentiable twice and in forward mode, which
    no flash kernel is (pytorch#128971). Eager attention has both as well and stays, but computes its softmax in
    float32.
    """
    config = locate(model).decoder.config
    operator = config._attn_implementation
    config._attn_implementation = operator if operator == "eager" else "sdpa"
    device = next(model.parameters()).device.type
    try:  # derivatives cannot be had in inference mode, nor digits under autocast
        with torch.inference_mode(False), torch.autocast(device, enabled=False):
            yield
    finally:
        config._attn_implementation = operator


@dataclass(frozen=True)
class DecoderInputs:
    """What a forward pass gave its first decoder layer.

    Attributes:
        states: [batch, length, dim].
        mask: [batch or 1, 1, length, length], boolean or additive; None means causal.
        angles: the position embeddings, each [batch or 1, length, any]; empty if the layers take none.
    """

    states: Tensor
    mask: Tensor | None
    angles: tuple[Tensor, ...]


@torch.no_grad()
def decoder_inputs(model: nn.Module, inputs: Mapping[str, Any]) -> DecoderInputs:
    """Run the model once and look at what reaches its layers.

    Raises:
        ValueError: the model is in training mode, its tokens see later ones, or something shortens the sequence on
            the way.
    """
    if model.training:
        raise ValueError(
            "the model must be in evaluation mode, for dropout makes every pass another; call model.eval()."
        )
    layers, seen = locate(model).layers, []

    def look(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        seen.append(DecoderInputs(states, kwargs.get("attention_mask"), tuple(kwargs.get("position_embeddings") or ())))

    # Before any other hook of the first layer, which the copies of `FrozenDecoder` apply again; after those of the last.
    handles = [layers[0].register_forward_pre_hook(look, with_kwargs=True, prepend=True)]
    handles.append(layers[-1].register_forward_pre_hook(look, with_kwargs=True))
    try:
        model(**{**inputs, "use_cache": False})
    finally:
        for handle in handles:
            handle.remove()
    given = next(inputs[name] for name in ("input_ids", "inputs_embeds") if inputs.get(name) is not None)
    if any(entry.states.shape[:2] != given.shape[:2] for entry in seen):
        raise ValueError("the model must run all its tokens through all layers; leave the dropping `with` first.")
    mask = seen[0].mask
    if mask is not None and (mask if mask.dtype == torch.bool else mask == 0).triu(1).any():
        raise ValueError(
            "the layers must be causal: a token's impact is measured on what comes after it. In this model tokens see "
            "later ones (PaliGemma's prompts, Gemma 3's pictures); dropping works there, this analysis does not."
        )
    return seen[0]


class FrozenDecoder:
    """Decoder layers, final norm and head as functions, the model's own weights untouched.

    Args:
        model: of a supported family.
        dtype: torch.float32 or torch.float64; parameters of another dtype are copied, once.
        output: "hidden" for the final-norm hidden state, "logits" for the logits.
        candidates: token ids, to keep these logits only.

    Raises:
        ValueError: an argument is not one of those, the model has no head for logits, or its layers are no functions of
            hidden states alone.
    """

    def __init__(
        self, model: nn.Module, dtype: torch.dtype, output: str, candidates: Sequence[int] | None = None
    ) -> None:
        """Freeze the parts."""
        self.parts: Parts = locate(model)
        _check_arguments(self.parts, dtype, output, candidates)
        self.dtype, self.output = dtype, output
        self.candidates = None if candidates is None else list(candidates)
        config = self.parts.decoder.config
        self.layers = [_frozen(layer, dtype, config) for layer in self.parts.layers]
        self.norm = _frozen(self.parts.decoder.norm, dtype, config)
        self.head = None if self.parts.head is None else _frozen(self.parts.head, dtype, config)

    @property
    def label(self) -> str:
        """The output, as it is named in frames."""
        return self.output if self.candidates is None else f"logits of {len(self.candidates)}"

    def read(self, states: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch out"]:
        """The output y at positions whose last-layer states these are."""
        return self.norm(states) if self.output == "hidden" else self.logits(states, self.candidates)

    def logits(
        self, states: Float[Tensor, "batch dim"], candidates: list[int] | None = None
    ) -> Float[Tensor, "batch out"]:
        """Logits at positions whose last-layer states these are, of all tokens or of some."""
        logits = self.head(self.norm(states))
        return logits if candidates is None else logits[:, candidates]


def _frozen(module: nn.Module, dtype: torch.dtype, config: Any) -> nn.Module:
    """A copy whose parameters have no gradients and one dtype; where they had it already, they share their memory."""
    shared = {id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in module.parameters()}
    return copy.deepcopy(module, shared | {id(config): config})  # the config's attention operator is switched outside


def _check_arguments(parts: Parts, dtype: torch.dtype, output: str, candidates: Sequence[int] | None) -> None:
    if any(parts.windows) or parts.deepstack:
        raise ValueError(
            "all layers must see the same tokens, and nothing may be added between them; got "
            f"{'sliding windows' if any(parts.windows) else 'deepstack features'} in a decoder of type "
            f"{parts.decoder.config.model_type!r}. Dropping works there, this analysis does not."
        )
    if dtype not in DERIVATIVE_DTYPES:
        raise ValueError(f"dtype must be torch.float32 or torch.float64, for derivatives need the digits; got {dtype}.")
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {', '.join(OUTPUTS)}; got {output!r}.")
    if output == "hidden" and candidates is not None:
        raise ValueError('candidates are token ids to read logits of; pass them with output="logits".')
    if parts.head is None and output == "logits":
        raise ValueError("the model has no language-model head to give logits; allowed: output='hidden'.")
    vocabulary = 0 if parts.head is None else parts.head.weight.shape[0]
    if candidates is not None and (not len(candidates) or not all(0 <= c < vocabulary for c in candidates)):
        raise ValueError(
            f"candidates must be token ids in [0, {vocabulary - 1}], at least one; got {list(candidates)}."
        )
