"""The residual stream of one prompt: its states at every decoder layer, and the way on from any layer to the output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.frozen_decoder import DecoderInputs, FrozenDecoder


class Stream:
    """States X^(0) ... X^(L) of one prompt without padding, and the functions between them.

    Positions count within the prompt; `columns` says where they are in the batch it came from. The output is read at
    the last one.

    Attributes:
        states: L + 1 tensors [length, dim]; X^(l) enters layer l.
        columns: [length], of the batch.
        causal: whether every position attends to itself and all before it, so that what comes before a change stays.
    """

    def __init__(self, network: FrozenDecoder, entry: DecoderInputs, row: int, columns: Int[Tensor, " length"]) -> None:
        """Run the layers once and remember states, keys and values."""
        self.network, self.columns = network, columns
        self._angles = tuple(_batch_row(a, row)[:, columns].to(network.dtype) for a in entry.angles)
        self._mask = _additive(entry.mask, row, columns, network.dtype)
        self.causal = bool((self._mask[0, 0].isneginf() == _above(len(columns), columns.device)).all())
        self._memory = _RecordedKeyValues()
        states = [entry.states[row, columns].to(network.dtype)]
        with torch.no_grad():
            for layer in range(len(network.layers)):
                states.append(self.step(layer, states[-1][None], cache=self._memory)[0])
        self.states = tuple(states)

    @property
    def n_layers(self) -> int:
        """Decoder layers, L."""
        return len(self.network.layers)

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return len(self.columns)

    def step(
        self, layer: int, states: Float[Tensor, "batch length dim"], cache: Any = None
    ) -> Float[Tensor, "batch length dim"]:
        """One decoder layer on whole sequences."""
        return self._call(layer, states, self._mask, self._angles, cache)

    def resumed(self, first: int, which: Int[Tensor, "rows n"]) -> Callable[[int, Tensor], Tensor]:
        """Decoder layers on the positions from `first` on; keys and values of those before are remembered ones.

        Args:
            first: must be 0 unless the attention is causal.
            which: ascending positions >= first, one row for all of a batch or one for each; a position that is left
                out is one that nobody attends to.

        Returns:
            From a layer's number and states [batch, n, dim] of these positions to what that layer writes, in the last
            layer for the last position only.
        """
        n, keys = which.shape[1], torch.arange(first, device=which.device).expand(len(which), -1)
        keys = torch.cat([keys, which], 1)
        if self.causal:  # the order is all that matters, and it is the same in every row
            mask = self._mask[:, :, self.length - n :, self.length - keys.shape[1] :]
        else:
            mask = self._mask[0, 0][which[:, :, None], keys[:, None, :]][:, None]
        angles = tuple(a[0][which] for a in self._angles)
        past = _PrefixCache(self._memory, first)

        def step(layer: int, states: Tensor) -> Tensor:
            if layer < self.n_layers - 1:
                return self._call(layer, states, mask, angles, past)
            return self._last(states, mask, angles, _LastLayerCache(past))

        return step

    def _last(self, states: Tensor, mask: Tensor, angles: tuple, past: _LastLayerCache) -> Tensor:
        """The last layer's output is read at one position: of the others it needs keys and values only."""
        with suppress(_StopLayer):
            self._call(self.n_layers - 1, states, mask, angles, past)
        last = tuple(a[:, -1:] for a in angles)
        return self._call(self.n_layers - 1, states[:, -1:], mask[..., -1:, :], last, past)

    def output(self, states: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch out"]:
        """Y, from last-layer states that end with the read position."""
        return self.network.read(states[:, -1])

    def change(self, states: Float[Tensor, "layer token dim"]) -> Float[Tensor, "layer token out"]:
        """Y at last-layer states of the read position, minus y as it is, both read in one batch."""
        read = self.network.read(torch.cat([self.states[-1][-1:], states.flatten(0, 1)]))
        return (read[1:] - read[:1]).view(*states.shape[:2], -1)

    def attention(self, layer: int, rows: int = 1) -> Float[Tensor, "rows length"]:
        """Weights with which the last positions attend to every position in a layer, mean over heads.

        So many rows of the map, with the remembered keys; NaN if the layer has no `self_attn`.
        """
        config, seen = self.network.parts.decoder.config, []
        module = getattr(self.network.layers[layer], "self_attn", None)
        if module is None:
            return torch.full((rows, self.length), torch.nan, device=self.columns.device)
        handle = module.register_forward_hook(lambda _, __, out: seen.append(out[1]))
        operator, config._attn_implementation = config._attn_implementation, "eager"
        try:
            angles, past = tuple(a[:, -rows:] for a in self._angles), _PrefixCache(self._memory, self.length - rows)
            self._call(layer, self.states[layer][None, -rows:], self._mask[:, :, -rows:], angles, past)
        finally:
            config._attn_implementation = operator
            handle.remove()
        return seen[0][0].mean(0)

    def keys(self, layer: int) -> Float[Tensor, "length keys"]:
        """Keys of every position in a layer, after rotation, all heads side by side; NaN if it kept none."""
        if layer not in self._memory:
            return torch.full((self.length, 1), torch.nan, device=self.columns.device)
        return self._memory[layer][0][0].transpose(0, 1).flatten(1)

    def _call(self, layer: int, states: Tensor, mask: Tensor, angles: tuple, cache: Any) -> Tensor:
        angles = {"position_embeddings": angles} if angles else {}
        out = self.network.layers[layer](states, attention_mask=mask, past_key_values=cache, **angles)
        return out[0] if isinstance(out, tuple) else out


class _RecordedKeyValues(dict[int, tuple[Tensor, Tensor]]):
    """Keys and values of every layer, taken down where a layer would fill its cache."""

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self[layer] = keys, values
        return keys, values


class _PrefixCache:
    """What a layer takes for its cache: the remembered keys and values of the first positions."""

    def __init__(self, memory: _RecordedKeyValues, first: int) -> None:
        self._memory, self._first = memory, first

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        before = (x[:, :, : self._first].expand(len(keys), -1, -1, -1) for x in self._memory[layer])
        return tuple(torch.cat([old, new], 2) for old, new in zip(before, (keys, values), strict=True))


class _StopLayer(Exception):
    """The layer has handed over its keys and values; the rest of it need not run."""


class _LastLayerCache:
    """Takes keys and values of the whole sequence once, breaks off, and gives the same to whoever asks next."""

    def __init__(self, past: _PrefixCache) -> None:
        self._past, self._taken = past, None

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._taken is None:
            self._taken = self._past.update(keys, values, layer)
            raise _StopLayer
        return self._taken


def _batch_row(x: Tensor, row: int) -> Tensor:
    return x[row : row + 1] if len(x) > 1 else x


def _above(n: int, device: torch.device) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)


def _additive(mask: Tensor | None, row: int, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """[1, 1, length, length], 0 where a query may attend to a key."""
    if mask is None:
        blocked = _above(len(columns), columns.device)
    else:
        mask = _batch_row(mask, row)[0, 0][columns][:, columns]
        blocked = ~mask if mask.dtype == torch.bool else mask <= torch.finfo(mask.dtype).min / 2
    return torch.zeros(blocked.shape, dtype=dtype, device=columns.device).masked_fill(blocked, -torch.inf)[None, None]
