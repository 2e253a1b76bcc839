"""How sensitive the output is to each vision token: operator norms of Jacobians, exact, by Lanczos, or shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.token_choice import Tokens, check_layers, measured_prompts, token_keys
from analysis.theorem.lanczos import lanczos
from analysis.theorem.linearised import Linearised
from analysis.theorem.norms import Norms, exact, jacobians, shared_subspace

ESTIMATORS = ("exact", "lanczos", "shared")


@dataclass(frozen=True)
class Estimator:
    """How operator norms are found.

    Args:
        method: "exact", "lanczos" or "shared".
        chunk: products made at once, which bounds the memory of their passes.
        tol: `lanczos` stops at this residual, relative to the norm.
        columns: of the subspace that `shared_subspace` finds; at most entries of y are used.
        iterations: block power iterations that find it.
        probes: Gaussian cotangents that estimate what lies outside it.
        confidence: that all intervals of a prompt hold together.
        width: `shared_subspace` hands tokens whose (upper - lower) / upper exceeds it to `lanczos`; None: never.
        seed: of start vectors and probes.

    Raises:
        ValueError: one of them is out of range.
    """

    method: str = "exact"
    chunk: int = 32
    tol: float = 1e-6
    columns: int = 16
    iterations: int = 2
    probes: int = 32
    confidence: float = 0.95
    width: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.method not in ESTIMATORS:
            raise ValueError(f"method must be one of {', '.join(ESTIMATORS)}; got {self.method!r}.")
        for name in ("chunk", "columns", "iterations", "probes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        for name in ("tol", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1; got {getattr(self, name)}.")

    def norms(self, linear: Linearised, tokens: Tensor) -> tuple[Norms, np.ndarray]:
        """Norms [layer, token] of one prompt, and the name of the method that gave each."""
        used = np.full((len(linear.layers), len(tokens)), self.method, dtype=object)
        if self.method == "exact":
            return exact(jacobians(linear, tokens)), used
        if self.method == "lanczos":
            everything = torch.ones(used.shape, dtype=torch.bool)
            return self._by_lanczos(linear, tokens, Norms.empty(used.shape), everything), used
        found = shared_subspace(linear, tokens, self.columns, self.probes, self.iterations, self.confidence, self.seed)
        wide = found.upper - found.lower > (torch.inf if self.width is None else self.width) * found.upper
        used[wide.numpy()] = "lanczos"
        return self._by_lanczos(linear, tokens, found, wide), used

    def _by_lanczos(self, linear: Linearised, tokens: Tensor, found: Norms, which: Tensor) -> Norms:
        """Put the norms of `which` in place, layer by layer: each has a shorter way to the output."""
        for row, layer in enumerate(linear.layers):
            chosen = which[row].nonzero().flatten()
            if len(chosen):
                one = Linearised(linear.stream, [layer], self.chunk)
                found.put(row, chosen, lanczos(one, tokens[chosen.to(tokens.device)], self.tol, self.seed))
        return found


def operator_norms(
    model: nn.Module,
    inputs: Mapping[str, Any],
    layers: Iterable[int] | int,
    tokens: Tokens = None,
    output: str = "hidden",
    method: str = "exact",
    *,
    candidates: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> pd.DataFrame:
    r"""Find :math:`\|J_j\|_2` of :math:`J_j = \partial y / \partial x_j^{(l+1)}`, others held fixed.

    y is the final-norm hidden state of a row's last prompt token, or its logits; :math:`x_j^{(l+1)}` is what decoder
    layer l writes for token j. So l is the layer whose update is scored by a drop at the input of layer l + 1, and at
    the last layer nothing but the last token matters. Decoder and derivatives run in `dtype` (but the norms of Llama
    and Qwen2 decoders compute in float32 whatever it is). The model is left as it was.

    - `exact`: all J_j from one backward pass per entry of y, then the largest eigenvalue of each Gram matrix. Holds
      layers x tokens x (entries of y) x dim numbers.
    - `lanczos`: Golub-Kahan bidiagonalisation, matrix-free, per token; `upper` is the norm plus the last
      residual, an estimate rather than a bound.
    - `shared_subspace`: one subspace for all layers and tokens of a prompt; `lower` is certain, all `upper` of a prompt hold
      together with a stated confidence. Its `operator_norm` is `lower`.

    Args:
        model: of a supported family (`v2drop.models.FAMILIES`), in evaluation mode.
        inputs: as the model is called with; rows may be padded.
        layers: decoder layers, from 0.
        tokens: positions in the batch, the same in every row or a list for each, or a BoolTensor [batch, sequence];
            by default the vision tokens that dropping chooses from (all image placeholders but one that ends a row).
        output: "hidden" or "logits".
        method: "exact", "lanczos" or "shared".
        candidates: token ids, for the logits of these only.
        dtype: torch.float32 or torch.float64.
        **settings: of `Estimator`.

    Returns:
        One row per (sample, layer, token): sample (row of the batch), layer, token (position in the batch),
        operator_norm, lower, upper (units of y per unit of x), method (that gave them), dtype, output.

    Raises:
        ValueError: an argument is not one of those above, or the model is not supported or inside a dropping `with`.
    """
    estimator, layers = Estimator(method, **settings), check_layers(model, layers)
    frames = []
    with differentiable_attention(model):
        network = FrozenDecoder(model, dtype, output, candidates)
        for sample, stream, places in measured_prompts(network, model, inputs, tokens):
            norms, used = estimator.norms(Linearised(stream, layers, estimator.chunk), places)
            frames.append(token_keys(sample, layers, stream, places).assign(**norms.columns(), method=used.flatten()))
    return pd.concat(frames, ignore_index=True).assign(dtype=str(dtype).removeprefix("torch."), output=network.label)
