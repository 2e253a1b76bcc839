"""The linear map behind a stream: products with the Jacobians of all layers and tokens, J v (jvp) and J^T u (vjp)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.residual_stream.stream import Stream


class Linearised:
    r"""The output y as a function of additions to the states X^(l+1) that some layers write, linearised at zero.

    The point of linearisation is the same for all of these layers. So one backward pass gives the gradients of *all*
    layers and tokens, and one forward-mode pass takes tangents of all of them:

    .. math:: y' = \sum_{l, j} J^{(l)}_j v^{(l)}_j, \qquad J^{(l)}_j = \partial y / \partial x^{(l+1)}_j.

    (`torch.func.linearize` would make forward-mode products cheaper, after seconds of tracing for every prompt.)

    Args:
        stream: The residual stream of one prompt.
        layers: Layer numbers, ascending; layer l stands for the states it writes, X^(l+1).
        batch_size: The number of products computed at once; memory grows with it.
        read: The function from the states [batch, length, dim] that the last layer writes to y [batch, out]; None for
            the stream's own output.

    Attributes:
        output: y of the unchanged prompt, [out].
    """

    def __init__(
        self,
        stream: Stream,
        layers: Sequence[int],
        batch_size: int = 32,
        read: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Run forward once and keep the activations that backward passes need."""
        self.stream, self.layers, self.batch_size = stream, list(layers), batch_size
        self._read = stream.output if read is None else read
        # One tensor for each layer: the gradient of a stacked one would be summed up from full-size pieces.
        self._zeros = tuple(torch.zeros_like(stream.states[0]) for _ in self.layers)
        with _derivatives():
            self.output, self._vjp = vjp(self._run, *self._zeros)

    def _run(self, *added: Float[Tensor, "length dim"]) -> Float[Tensor, " out"]:
        states = self.stream.states[self.layers[0] + 1][None]
        for layer in range(self.layers[0], self.stream.n_layers):
            if layer > self.layers[0]:
                states = self.stream.step(layer, states)
            if layer in self.layers:
                states = states + added[self.layers.index(layer)]
        return self._read(states)[0]

    def vjp_all(
        self, cotangents: Float[Tensor, "n out"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "layer token n dim"]:
        """J_j^T u for every layer, token and cotangent u: one backward pass for each u."""
        dim = self._zeros[0].shape[-1]
        products = cotangents.new_empty(len(self.layers), len(tokens), len(cotangents), dim)
        for start in range(0, len(cotangents), self.batch_size):
            part = slice(start, start + self.batch_size)
            for row, gradient in enumerate(self._gradients(cotangents[part])):
                products[row, :, part] = gradient[:, tokens].transpose(0, 1)
        return products

    def vjp_each(
        self, cotangents: Float[Tensor, "token out"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "token dim"]:
        """J_j^T u_j of the first layer, each token j with its own cotangent u_j."""
        parts = zip(cotangents.split(self.batch_size), tokens.split(self.batch_size), strict=True)
        return torch.cat([self._gradients(u)[0][range(len(t)), t] for u, t in parts])

    def jvp_sum(
        self, tangents: Float[Tensor, "layer token n dim"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "n out"]:
        """The sum over layers and tokens of J_j v_j: one forward-mode pass for each of the n tangents."""
        out = []
        for part in tangents.split(self.batch_size, dim=2):
            blank = part.new_zeros(part.shape[2], *self._zeros[0].shape)
            out.append(self._jvp(*(blank.index_copy(1, tokens, layer.transpose(0, 1)) for layer in part)))
        return torch.cat(out)

    def jvp_each(
        self, tangents: Float[Tensor, "token dim"], tokens: Int[Tensor, " token"]
    ) -> Float[Tensor, "token out"]:
        """J_j v_j of the first layer, each token j by itself."""
        out = []
        for part, positions in zip(tangents.split(self.batch_size), tokens.split(self.batch_size), strict=True):
            added = [part.new_zeros(len(part), *zero.shape) for zero in self._zeros]
            added[0][range(len(part)), positions] = part
            out.append(self._jvp(*added))
        return torch.cat(out)

    def _gradients(self, cotangents: Tensor) -> tuple[Tensor, ...]:
        with _derivatives():
            return vmap(self._vjp)(cotangents)

    def _jvp(self, *added: Tensor) -> Tensor:
        with _derivatives():
            return vmap(lambda *tangent: jvp(self._run, self._zeros, tangent)[1])(*added)


@contextmanager
def _derivatives() -> Iterator[None]:
    """Gradients on SDPA's mathematical back end; no other has a forward mode, or a batching rule for the backward."""
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        yield
