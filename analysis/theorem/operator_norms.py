"""How sensitive the output is to each vision token: operator norms of Jacobians, exact or by an estimate."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import Tokens, check_layers, measured_prompts, token_keys
from analysis.theorem.lanczos import lanczos
from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms, exact, jacobians, shared_subspace
from v2drop.arguments import number, one_of, seed_number, whole_number

ESTIMATORS = ("exact", "lanczos", "shared")
EXACT_UP_TO = 256  # entries of y; "exact" takes a backward pass for each


@dataclass(frozen=True)
class Estimator:
    """How operator norms are computed.

    Args:
        name: "exact", "lanczos" or "shared" (see `operator_norms`).
        batch_size: The number of products computed at once, which bounds the memory of their passes.
        tolerance: "lanczos" stops at this residual, relative to the norm.
        subspace_rank: The rank of each block of the subspace that "shared" finds.
        iterations: The number of its blocks after the first.
        probes: The number of Gaussian cotangents that estimate the rest outside it.
        confidence: The probability with which all intervals of a prompt hold together.
        max_relative_width: The width (upper - lower) / upper above which "shared" hands a token over to "lanczos"; None
            for never.
        seed: The seed of start vectors and probes.

    Raises:
        ValueError: An argument is out of range.
    """

    name: str = "exact"
    batch_size: int = 32
    tolerance: float = 1e-6
    subspace_rank: int = 8
    iterations: int = 2
    probes: int = 16
    confidence: float = 0.95
    max_relative_width: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        one_of("estimator", self.name, ESTIMATORS)
        counts = ("batch_size", "subspace_rank", "iterations", "probes")
        checked: dict[str, Any] = {name: whole_number(name, getattr(self, name), 1) for name in counts}
        for name in ("tolerance", "confidence"):
            checked[name] = number(name, getattr(self, name), 0, 1)
            if checked[name] in (0, 1):
                raise ValueError(f"{name} must lie between 0 and 1, which are excluded; got {checked[name]}.")
        if self.max_relative_width is not None:
            checked["max_relative_width"] = number("max_relative_width", self.max_relative_width, 0)
        for name, value in (checked | {"seed": seed_number(self.seed)}).items():
            object.__setattr__(self, name, value)  # numbers of numpy become Python's

    def norms(self, linear: Linearised, tokens: Tensor) -> tuple[Norms, np.ndarray]:
        """Norms of one prompt, [layer, token], and the name of the estimator behind each of them."""
        names = np.full((len(linear.layers), len(tokens)), self.name, dtype=object)
        if self.name == "exact":
            return exact(jacobians(linear, tokens)), names
        if self.name == "lanczos":
            everything = torch.ones(names.shape, dtype=torch.bool)
            blank = Norms.empty(names.shape, linear.stream.states[0])
            return self._fill_by_lanczos(blank, linear, tokens, everything), names
        settings = self.subspace_rank, self.probes, self.iterations, self.confidence, self.seed
        norms = shared_subspace(linear, tokens, *settings)
        limit = torch.inf if self.max_relative_width is None else self.max_relative_width
        wide = norms.upper - norms.lower > limit * norms.upper
        names[wide.numpy()] = "lanczos"
        return self._fill_by_lanczos(norms, linear, tokens, wide), names

    def norms_and_products(
        self, linear: Linearised, tokens: Tensor, directions: Sequence[Tensor]
    ) -> tuple[Norms, np.ndarray, list[Tensor]]:
        """The results of `norms`, and J_j v_j [layer, token, out] for every set of directions v [layer, token, dim].

        "exact" multiplies by the dense J_j, which it has anyway; the others take one JVP for each token.
        """
        if self.name == "exact":
            jacobian = jacobians(linear, tokens)
            names = np.full(jacobian.shape[:2], "exact", dtype=object)
            products = [torch.einsum("ltod,ltd->lto", jacobian, v) for v in directions]
            return exact(jacobian), names, products
        single = (Linearised(linear.stream, [layer], self.batch_size) for layer in linear.layers)
        rows = [[one.jvp_each(v[row], tokens) for v in directions] for row, one in enumerate(single)]
        return *self.norms(linear, tokens), [torch.stack(products) for products in zip(*rows, strict=True)]

    def _fill_by_lanczos(self, norms: Norms, linear: Linearised, tokens: Tensor, which: Tensor) -> Norms:
        """Overwrite the norms at `which`, layer by layer: a single layer has fewer layers to run to the output."""
        for row, layer in enumerate(linear.layers):
            chosen = which[row].nonzero().flatten()
            if len(chosen):
                one = Linearised(linear.stream, [layer], self.batch_size)
                norms.fill(row, chosen, lanczos(one, tokens[chosen.to(tokens.device)], self.tolerance, self.seed))
        return norms


def operator_norms(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Collection[int] | int,
    tokens: Tokens = None,
    output: str = "hidden",
    estimator: str | None = None,
    *,
    candidates: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> pd.DataFrame:
    r"""The norms :math:`\|J_j\|_2` of :math:`J_j = \partial y / \partial x_j^{(l+1)}`, all other tokens held fixed.

    y is the hidden state of a row's last prompt token after the final norm, or its logits; :math:`x_j^{(l+1)}` is the
    state that decoder layer l writes for token j. So l is the layer whose update is scored by a drop at the input of
    layer l + 1, and at the last layer only the last token matters. Decoder and derivatives run in `dtype` (the norms of
    Llama and Qwen2 decoders always compute in float32). The model is left as it was.

    - "exact": all J_j from one backward pass per entry of y, then the largest eigenvalue of each Gram matrix. Holds
      layers x tokens x (entries of y) x dim numbers.
    - "lanczos": Golub-Kahan bidiagonalisation, token by token, without matrices; `upper` is the norm plus the last
      residual, an estimate rather than a bound.
    - "shared": one subspace for all layers and tokens of a prompt; `lower` is certain, all `upper` of a prompt hold
      together with a stated confidence. Its operator_norm is `lower`.

    Args:
        model: A model of a supported family (`v2drop.models.families.FAMILIES`), in evaluation mode.
        inputs: The keyword arguments that the model is called with; rows may be padded.
        layers: Decoder layers, counted from 0.
        tokens: Positions in the batch, the same in every row or a list for each, or a BoolTensor [batch, sequence];
            None for the vision tokens that dropping chooses from: all image placeholders but one that ends a row.
        output: "hidden" or "logits".
        estimator: "exact", "lanczos" or "shared"; None for "exact" where y has at most 256 entries, else "shared".
        candidates: Token ids whose logits are the output; None for all.
        dtype: torch.float32 or torch.float64.
        **settings: Further arguments of `Estimator`.

    Returns:
        One row per (sample, layer, token): sample (row of the batch), layer, token (position in the batch),
        operator_norm, lower, upper (units of y per unit of x), norm_estimator (the one behind them: "shared" may hand
        a token over to "lanczos"), dtype, output.

    Raises:
        ValueError: An argument is none of those above, the model is not supported or is inside a dropping `with`, or
            its weights are quantised in a way that cannot be taken back exactly.
    """
    settled, layers = Estimator("exact" if estimator is None else estimator, **settings), check_layers(model, layers)
    frames = []
    with differentiable_attention(model):
        decoder = FrozenDecoder(model, dtype, output, candidates)
        for sample, stream, positions in measured_prompts(decoder, model, inputs, tokens):
            linear = Linearised(stream, layers, settled.batch_size)
            if estimator is None and len(linear.output) > EXACT_UP_TO:
                settled = replace(settled, name="shared")
            norms, names = settled.norms(linear, positions)
            keys = token_keys(sample, layers, stream, positions)
            frames.append(keys.assign(**norms.frame_columns(), norm_estimator=names.flatten()))
    return pd.concat(frames, ignore_index=True).assign(dtype=str(dtype).removeprefix("torch."), output=decoder.label)
