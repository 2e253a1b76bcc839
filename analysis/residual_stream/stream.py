"""The residual stream of one prompt: its states at every decoder layer, resumed from any layer up to the output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.residual_stream.decoder_inputs import DecoderInputs
from analysis.residual_stream.frozen_decoder import FrozenDecoder


class Stream:
    """States X^(0) ... X^(L) of one prompt without padding, and the functions between them.

    Positions are counted within the prompt. The output is read at the last one.

    Args:
        decoder: The model's decoder.
        inputs: The arguments of the first decoder layer, for the whole batch.
        row: The prompt's row in the batch.
        columns: The prompt's positions in that row, padding left out, [length].

    Attributes:
        states: L + 1 tensors [length, dim]; X^(l) enters layer l.
        columns: As the argument.
        causal: Whether every position attends to itself and to all positions before it. Then a change at one position
            leaves the states of all earlier ones as they are.
    """

    def __init__(
        self, decoder: FrozenDecoder, inputs: DecoderInputs, row: int, columns: Int[Tensor, " length"]
    ) -> None:
        """Run the layers once and record states, keys and values."""
        self.decoder, self.columns = decoder, columns
        self._angles = tuple(_batch_row(a, row)[:, columns].to(decoder.dtype) for a in inputs.angles)
        self._mask = _additive(inputs.mask, row, columns, decoder.dtype)
        self.causal = bool((self._mask[0, 0].isneginf() == _above(len(columns), columns.device)).all())
        self._recorded = _RecordedKeyValues()
        states = [inputs.states[row, columns].to(decoder.dtype)]
        with torch.no_grad():
            for layer in range(len(decoder.layers)):
                states.append(self.step(layer, states[-1][None], cache=self._recorded)[0])
        self.states = tuple(states)

    @property
    def n_layers(self) -> int:
        """The number of decoder layers, L."""
        return len(self.decoder.layers)

    @property
    def length(self) -> int:
        """The number of tokens of the prompt."""
        return len(self.columns)

    def step(
        self, layer: int, states: Float[Tensor, "batch length dim"], cache: Any = None
    ) -> Float[Tensor, "batch length dim"]:
        """One decoder layer on whole sequences."""
        return self._call(layer, states, self._mask, self._angles, cache)

    def resume_from(self, first: int, which: Int[Tensor, "rows n"], read: int = 1) -> Callable[[int, Tensor], Tensor]:
        """Decoder layers on some positions from `first` on, with the recorded keys and values of the positions before.

        Args:
            first: The first position that may change; 0 unless the attention is causal.
            which: The positions that run, ascending and >= first, [rows, n]: one row for the whole batch, or one for
                each of its sequences. No position attends to one that is left out.
            read: The number of last positions at which the output is read.

        Returns:
            A function of a layer's number and the states [batch, n, dim] that enter it at `which`, to the states that
            the layer writes. The last layer writes those of the last positions only, [batch, read, dim].
        """
        n, keys = which.shape[1], torch.arange(first, device=which.device).expand(len(which), -1)
        keys = torch.cat([keys, which], 1)
        if self.causal:  # the mask depends on the order alone, which is the same in every row
            mask = self._mask[:, :, self.length - n :, self.length - keys.shape[1] :]
        else:
            mask = self._mask[0, 0][which[:, :, None], keys[:, None, :]][:, None]
        angles = tuple(a[0][which] for a in self._angles)
        past = _PrefixCache(self._recorded, first)

        def step(layer: int, states: Tensor) -> Tensor:
            if layer < self.n_layers - 1:
                return self._call(layer, states, mask, angles, past)
            return self._last(states, mask, angles, _LastLayerCache(past), read)

        return step

    def _last(self, states: Tensor, mask: Tensor, angles: tuple, past: _LastLayerCache, read: int) -> Tensor:
        """The last layer, read at the last positions only: of the others it takes just keys and values."""
        with suppress(_StopLayer):
            self._call(self.n_layers - 1, states, mask, angles, past)
        last = tuple(a[:, -read:] for a in angles)
        return self._call(self.n_layers - 1, states[:, -read:], mask[..., -read:, :], last, past)

    def output(self, states: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch out"]:
        """The output y, from what the last layer writes; the last of the n positions is read."""
        return self.decoder.output_at(states[:, -1])

    def output_change(self, states: Float[Tensor, "layer token dim"]) -> Float[Tensor, "layer token out"]:
        """The output y for other last-layer states of the read position, minus the y of the unchanged prompt.

        Both are computed in one batch, so that the roundings that a batch brings cancel.
        """
        y = self.decoder.output_at(torch.cat([self.states[-1][-1:], states.flatten(0, 1)]))
        return (y[1:] - y[:1]).view(*states.shape[:2], -1)

    def attention(self, layer: int, rows: int = 1) -> Float[Tensor, "rows length"]:
        """Attention weights of the last `rows` positions in a layer, mean over heads; NaN if it has no attention.

        Only these rows of the attention map are computed, from the recorded keys.
        """
        config, outputs = self.decoder.parts.decoder.config, []
        module = getattr(self.decoder.layers[layer], "self_attn", None)
        if module is None:
            return torch.full((rows, self.length), torch.nan, device=self.columns.device)
        handle = module.register_forward_hook(lambda _, __, out: outputs.append(out[1]))
        operator, config._attn_implementation = config._attn_implementation, "eager"
        try:
            angles, past = tuple(a[:, -rows:] for a in self._angles), _PrefixCache(self._recorded, self.length - rows)
            self._call(layer, self.states[layer][None, -rows:], self._mask[:, :, -rows:], angles, past)
        finally:
            config._attn_implementation = operator
            handle.remove()
        return outputs[0][0].mean(0)

    def keys(self, layer: int) -> Float[Tensor, "length keys"]:
        """Rotated keys of every position in a layer, all heads side by side; NaN for a layer that caches none."""
        if layer not in self._recorded:
            return torch.full((self.length, 1), torch.nan, device=self.columns.device)
        return self._recorded[layer][0][0].transpose(0, 1).flatten(1)

    def _call(self, layer: int, states: Tensor, mask: Tensor, angles: tuple, cache: Any) -> Tensor:
        angles = {"position_embeddings": angles} if angles else {}
        out = self.decoder.layers[layer](states, attention_mask=mask, past_key_values=cache, **angles)
        return out[0] if isinstance(out, tuple) else out


class _RecordedKeyValues(dict[int, tuple[Tensor, Tensor]]):
    """Keys and values of every layer, recorded where the layer would fill its cache."""

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self[layer] = keys, values
        return keys, values


class _PrefixCache:
    """A cache with the recorded keys and values of the first positions."""

    def __init__(self, recorded: _RecordedKeyValues, first: int) -> None:
        self._recorded, self._first = recorded, first

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        before = (x[:, :, : self._first].expand(len(keys), -1, -1, -1) for x in self._recorded[layer])
        return tuple(torch.cat([old, new], 2) for old, new in zip(before, (keys, values), strict=True))


class _StopLayer(Exception):
    """Ends a layer once its cache has the keys and values; the rest of the layer need not run."""


class _LastLayerCache:
    """Cache of two calls of the last layer: the first stores keys and values and stops, the second reads them."""

    def __init__(self, past: _PrefixCache) -> None:
        self._past, self._stored = past, None

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._stored is None:
            self._stored = self._past.update(keys, values, layer)
            raise _StopLayer
        return self._stored


def _batch_row(x: Tensor, row: int) -> Tensor:
    return x[row : row + 1] if len(x) > 1 else x


def _above(n: int, device: torch.device) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)


def _additive(mask: Tensor | None, row: int, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """The prompt's mask, [1, 1, length, length]: 0 where a query may attend to a key, -inf elsewhere."""
    if mask is None:
        blocked = _above(len(columns), columns.device)
    else:
        mask = _batch_row(mask, row)[0, 0][columns][:, columns]
        blocked = ~mask if mask.dtype == torch.bool else mask <= torch.finfo(mask.dtype).min / 2
    return torch.zeros(blocked.shape, dtype=dtype, device=columns.device).masked_fill(blocked, -torch.inf)[None, None]
