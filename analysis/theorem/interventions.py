"""What the output becomes when the update of one token is taken back, or the token is gone: measured, not predicted.

Every intervention runs only the layers behind it, on the positions from the token on (what comes before cannot change
under causal attention, so its keys and values are those of the plain run), many tokens in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.stream import Stream

Batch = tuple[Tensor, Tensor]  # states [token, n, dim] and which positions they are of [token, n]


def revert_update(
    stream: Stream, layers: Sequence[int], tokens: Int[Tensor, " token"], share: float = 1.0, chunk: int = 16
) -> Float[Tensor, "layer token dim"]:
    """Last-layer states of the read position when x_j^(l+1) is put back to x_j^(l), one token at a time.

    Args:
        stream: of one prompt.
        layers: l, each by itself.
        tokens: j, each by itself.
        share: of the update that is taken back.
        chunk: tokens in a batch.
    """

    def prepare(layer: int, part: Tensor, first: int) -> Batch:
        before, after = stream.states[layer], stream.states[layer + 1]
        which = torch.arange(first, stream.length, device=part.device)[None]
        states = after[first:].repeat(len(part), 1, 1)
        states[range(len(part)), part - first] -= share * (after - before)[part]
        return states, which

    return _run(stream, layers, tokens, prepare, chunk)


def remove_token(
    stream: Stream, layers: Sequence[int], tokens: Int[Tensor, " token"], chunk: int = 16
) -> Float[Tensor, "layer token dim"]:
    """Last-layer states of the read position when token j is not there from layer l + 1 on, one token at a time.

    Args:
        stream: of one prompt.
        layers: l, each by itself.
        tokens: j, each by itself; not the last one, where the output is read.
        chunk: tokens in a batch.

    Raises:
        ValueError: the last token is to be dropped.
    """
    if (tokens == stream.length - 1).any():
        raise ValueError("the last token of a prompt cannot be dropped: the output is read there; leave it out.")

    def prepare(layer: int, part: Tensor, first: int) -> Batch:
        rest = torch.arange(first, stream.length - 1, device=part.device).expand(len(part), -1)
        which = rest + (rest >= part[:, None])
        return stream.states[layer + 1][which], which

    return _run(stream, layers, tokens, prepare, chunk)


def _run(
    stream: Stream,
    layers: Sequence[int],
    tokens: Tensor,
    prepare: Callable[[int, Tensor, int], Batch],
    chunk: int,
) -> Tensor:
    out = stream.states[-1].new_empty(len(layers), len(tokens), stream.states[-1].shape[-1])

    @torch.no_grad()
    def batch(job: tuple[int, int]) -> None:
        row, start = job
        part = tokens[start : start + chunk]
        first = int(part.min()) if stream.causal else 0
        states, which = prepare(layers[row], part, first)
        step = stream.resumed(first, which)
        for later in range(layers[row] + 1, stream.n_layers):
            states = step(later, states)
        out[row, start : start + chunk] = states[:, -1]

    jobs = [(row, start) for row in range(len(layers)) for start in range(0, len(tokens), chunk)]
    with _one_thread_each(out.device) as pool:
        list(pool.map(batch, jobs))
    return out


@contextmanager
def _one_thread_each(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """As many workers as torch may use threads, with one each: small operators do not gain from two, but batches do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads if device.type == "cpu" else 1) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
