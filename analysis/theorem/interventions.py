"""Interventions on one token, measured rather than predicted: its update is taken back, it is removed, or all others.

An intervention runs only the layers behind it, on the positions from its token on: under causal attention no earlier
position can change, so their keys and values are the recorded ones. Many tokens run in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.stream import Stream
from v2drop.arguments import number, whole_number

Batch = tuple[Tensor, Tensor]  # states [token, n, dim] and their positions [token, n], ascending


def revert_update(
    stream: Stream, layers: Sequence[int], tokens: Int[Tensor, " token"], share: float = 1.0, batch_size: int = 16
) -> Float[Tensor, "layer token dim"]:
    """Last-layer states of the read position when x_j^(l+1) is set back to x_j^(l), one token at a time.

    Args:
        stream: The residual stream of one prompt.
        layers: Layers l, each by itself.
        tokens: Positions j within the prompt, each by itself.
        share: The share of the update that is taken back; 1 sets x_j^(l+1) to x_j^(l).
        batch_size: The number of tokens that run at once.

    Raises:
        ValueError: A layer or token is not the stream's, or a number is out of range.
    """
    share = number("share", share)

    def prepare(layer: int, part: Tensor, first: int) -> Batch:
        before, after = stream.states[layer], stream.states[layer + 1]
        which = torch.arange(first, stream.length, device=part.device)[None]
        states = after[first:].repeat(len(part), 1, 1)
        states[range(len(part)), part - first] -= share * (after - before)[part]
        return states, which

    return _run(stream, layers, tokens, prepare, batch_size)


def remove_token(
    stream: Stream, layers: Sequence[int], tokens: Int[Tensor, " token"], batch_size: int = 16
) -> Float[Tensor, "layer token dim"]:
    """Last-layer states of the read position when token j is removed from layer l + 1 on, one token at a time.

    Args:
        stream: The residual stream of one prompt.
        layers: Layers l, each by itself.
        tokens: Positions j within the prompt, each by itself; not the last one, where the output is read.
        batch_size: The number of tokens that run at once.

    Raises:
        ValueError: `tokens` holds the last position, a layer or token is not the stream's, or `batch_size` is below 1.
    """
    if (tokens == stream.length - 1).any():
        raise ValueError("the last token of a prompt cannot be dropped: the output is read there; leave it out.")

    def prepare(layer: int, part: Tensor, first: int) -> Batch:
        rest = torch.arange(first, stream.length - 1, device=part.device).expand(len(part), -1)
        which = rest + (rest >= part[:, None])
        return stream.states[layer + 1][which], which

    return _run(stream, layers, tokens, prepare, batch_size)


def keep_alone(
    stream: Stream,
    layers: Sequence[int],
    tokens: Int[Tensor, " token"],
    others: Int[Tensor, " other"],
    batch_size: int = 16,
) -> Float[Tensor, "layer token dim"]:
    """Last-layer states of the read position when of some tokens only token j is left from layer l + 1 on.

    Args:
        stream: The residual stream of one prompt.
        layers: Layers l, each by itself.
        tokens: Positions j within the prompt, each by itself: all of `others`, or all not, and then none is left.
        others: The positions that are removed, but for j; not the last one, where the output is read.
        batch_size: The number of tokens that run at once.

    Raises:
        ValueError: `others` holds the last position, a layer or token is not the stream's, or `batch_size` is below 1.
    """
    if (others == stream.length - 1).any():
        raise ValueError("the last token of a prompt cannot be dropped: the output is read there; leave it out.")
    start = int(others.min()) if stream.causal and len(others) else 0

    def prepare(layer: int, part: Tensor, first: int) -> Batch:
        stays = torch.ones(len(part), stream.length, dtype=torch.bool, device=part.device)
        stays[:, others] = False
        stays = stays.scatter(1, part[:, None], True)[:, first:]
        which = first + stays.nonzero()[:, 1].unflatten(0, (len(part), -1))
        return stream.states[layer + 1][which], which

    return _run(stream, layers, tokens, prepare, batch_size, start)


def _run(
    stream: Stream,
    layers: Sequence[int],
    tokens: Tensor,
    prepare: Callable[[int, Tensor, int], Batch],
    batch_size: int,
    start: int | None = None,
) -> Tensor:
    """The states, by runs from position `start` on; None for the first token of each batch."""
    layers = [whole_number("each of layers", layer, 0, stream.n_layers - 1) for layer in layers]
    batch_size = whole_number("batch_size", batch_size, 1)
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < stream.length:
        raise ValueError(f"tokens must be positions from 0 to {stream.length - 1}; got {tokens.tolist()}.")
    out = stream.states[-1].new_empty(len(layers), len(tokens), stream.states[-1].shape[-1])

    @torch.no_grad()
    def batch(job: tuple[int, int]) -> None:
        row, place = job
        part = tokens[place : place + batch_size]
        first = start if start is not None else int(part.min()) if stream.causal else 0
        states, which = prepare(layers[row], part, first)
        step = stream.resume_from(first, which)
        for later in range(layers[row] + 1, stream.n_layers):
            states = step(later, states)
        out[row, place : place + batch_size] = states[:, -1]

    jobs = [(row, place) for row in range(len(layers)) for place in range(0, len(tokens), batch_size)]
    with one_thread_each(out.device) as pool:
        list(pool.map(batch, jobs))
    return out


@contextmanager
def one_thread_each(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """As many workers as torch has threads, one thread each: a second one does not speed small operators up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads if device.type == "cpu" else 1) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
