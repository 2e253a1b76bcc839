"""The linear map behind a stream: products with the Jacobians of all its layers and tokens, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.residual_stream.stream import Stream


class Linearised:
    r"""Y as a function of something added to the states X^(l+1) behind each of some layers, linearised at zero.

    What is added behind one layer does not change what "nothing added" means behind the others, so one backward pass
    gives the cotangents of *all* layers and tokens, and one forward-mode pass takes a tangent on all of them:

    .. math:: y' = \sum_{l, j} J^{(l)}_j v^{(l)}_j, \qquad J^{(l)}_j = \partial y / \partial x^{(l+1)}_j.

    (`torch.func.linearize` would make forward-mode products cheaper, after seconds of tracing for every prompt.)

    Args:
        stream: of one prompt.
        layers: ascending; layer l stands for the states it writes, X^(l+1).
        chunk: products made at once; memory grows with it.
    """

    def __init__(self, stream: Stream, layers: Sequence[int], chunk: int = 32) -> None:
        """Run forward once and keep what backward passes need."""
        self.stream, self.layers, self.chunk = stream, list(layers), chunk
        # One tensor a layer: the gradient of a stack would be summed up from full-size pieces.
        self._zeros = tuple(torch.zeros_like(stream.states[0]) for _ in self.layers)
        with _derivatives():
            self.output, self._pull = vjp(self._run, *self._zeros)

    def _run(self, *added: Float[Tensor, "length dim"]) -> Float[Tensor, " out"]:
        states = self.stream.states[self.layers[0] + 1][None]
        for layer in range(self.layers[0], self.stream.n_layers):
            if layer > self.layers[0]:
                states = self.stream.step(layer, states)
            if layer in self.layers:
                states = states + added[self.layers.index(layer)]
        return self.stream.output(states)[0]

    def pull(
        self, cotangents: Float[Tensor, "n out"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "layer token n dim"]:
        """J^T u for every layer and these tokens: one backward pass a cotangent."""
        dim = self._zeros[0].shape[-1]
        found = cotangents.new_empty(len(self.layers), len(tokens), len(cotangents), dim)
        for start in range(0, len(cotangents), self.chunk):
            part = slice(start, start + self.chunk)
            for row, gradient in enumerate(self._gradients(cotangents[part])):
                found[row, :, part] = gradient[:, tokens].transpose(0, 1)
        return found

    def pull_each(
        self, cotangents: Float[Tensor, "token out"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "token dim"]:
        """J_j^T u_j behind the first layer: a cotangent of its own for every token."""
        parts = zip(cotangents.split(self.chunk), tokens.split(self.chunk), strict=True)
        return torch.cat([self._gradients(u)[0][range(len(t)), t] for u, t in parts])

    def push(
        self, tangents: Float[Tensor, "layer token n dim"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "n out"]:
        """Sum over layers and tokens of J_j v_j: one forward-mode pass a tangent."""
        out = []
        for part in tangents.split(self.chunk, dim=2):
            blank = part.new_zeros(part.shape[2], *self._zeros[0].shape)
            out.append(self._push(*(blank.index_copy(1, tokens, layer.transpose(0, 1)) for layer in part)))
        return torch.cat(out)

    def push_each(
        self, tangents: Float[Tensor, "token dim"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "token out"]:
        """J_j v_j behind the first layer, for every token by itself."""
        out = []
        for part, places in zip(tangents.split(self.chunk), tokens.split(self.chunk), strict=True):
            added = [part.new_zeros(len(part), *zero.shape) for zero in self._zeros]
            added[0][range(len(part)), places] = part
            out.append(self._push(*added))
        return torch.cat(out)

    def _gradients(self, cotangents: Tensor) -> tuple[Tensor, ...]:
        with _derivatives():
            return vmap(self._pull)(cotangents)

    def _push(self, *added: Tensor) -> Tensor:
        with _derivatives():
            return vmap(lambda *tangent: jvp(self._run, self._zeros, tangent)[1])(*added)


@contextmanager
def _derivatives() -> Iterator[None]:
    """SDPA's mathematical back end: the others have no forward mode, nor a batching rule for the backward one."""
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        yield
