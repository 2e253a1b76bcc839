"""The streams in which an answer is read: one for each of its tokens, of the prompt and the tokens before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from analysis.residual_stream.decoder_inputs import decoder_inputs, prompt_shape
from analysis.residual_stream.frozen_decoder import FrozenDecoder
from analysis.residual_stream.stream import Stream
from v2drop.arguments import whole_number

Read = tuple[Stream, int]  # a stream whose last position predicts the token id


class AnswerStreams:
    r"""The log probability of answers as sums over streams, :math:`\sum_i \log p(a_i \mid prompt, a_1 ... a_{i-1})`.

    The first token of an answer is read in the prompt's own stream. Each further one takes a stream of its own, of the
    prompt with the answer's tokens so far behind it (teacher forcing); positions within the prompt stay.

    Args:
        decoder: The model's decoder.
        model: The model.
        inputs: The keyword arguments that the model is called with.
        answers: The token ids of the right answer of every row, in their order (`Loaded.answer_ids`).

    Raises:
        ValueError: The answers are not a list of token ids for each row, the model has no head, or an answer has
            several tokens and the inputs are no ids without position ids.
    """

    def __init__(
        self, decoder: FrozenDecoder, model: nn.Module, inputs: Mapping[str, Any], answers: Sequence[Sequence[int]]
    ) -> None:
        """Run the model on the prompts with the beginnings of their answers."""
        self._decoder, self._ids = decoder, _checked(answers, prompt_shape(inputs)[0], decoder)
        self._continued = []
        for n in range(1, max(map(len, self._ids))):
            longer = continued(inputs, self._ids, n)
            self._continued.append((decoder_inputs(model, longer), longer["attention_mask"].bool()))

    def reads(self, row: int, stream: Stream) -> list[Read]:
        """The streams that predict the tokens of a row's answer, and these tokens.

        Args:
            row: The prompt's row in the batch.
            stream: The prompt's own stream.
        """
        ids, streams = self._ids[row], [stream]
        for inputs, present in self._continued[: len(ids) - 1]:
            columns = present[row].nonzero().flatten().to(inputs.states.device)
            streams.append(Stream(self._decoder, inputs, row, columns))
        return list(zip(streams, ids, strict=True))


def _checked(answers: Any, n_rows: int, decoder: FrozenDecoder) -> list[list[int]]:
    if decoder.lm_head is None:
        raise ValueError("the model has no language-model head to give an answer's probability; leave answers out.")
    rows = answers.tolist() if hasattr(answers, "tolist") else answers
    listed = isinstance(rows, Sequence) and not isinstance(rows, str) and all(isinstance(r, Sequence) for r in rows)
    if not listed or len(rows) != n_rows or not all(len(row) for row in rows):
        raise ValueError(
            f"answers must be a list of the answer's token ids for each of {n_rows} rows, as Loaded.answer_ids gives "
            f"them; got {answers!r}."
        )
    most = len(decoder.lm_head.weight) - 1
    return [[whole_number("each token id of answers", token, 0, most) for token in row] for row in rows]


def continued(inputs: Mapping[str, Any], answers: list[list[int]], n: int) -> dict[str, Any]:
    """The inputs with n tokens of its answer behind each row's prompt; an answer with fewer repeats its last one."""
    ids = inputs.get("input_ids")
    if ids is None or inputs.get("position_ids") is not None:
        raise ValueError(
            "inputs must be input_ids without position_ids where an answer has several tokens, for they are put behind "
            f"the prompt; got {', '.join(inputs)}. Give one token id for each row instead."
        )
    mask = inputs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    last = ids.shape[1] - 1 - mask.int().flip(1).argmax(1, keepdim=True)
    beginnings = torch.tensor([(row + row[-1:] * n)[:n] for row in answers], device=ids.device)
    blank = torch.zeros_like(beginnings)
    longer = {  # of each token's type, say
        name: _inserted(x, blank, last)
        for name, x in inputs.items()
        if isinstance(x, Tensor) and x.shape == ids.shape and not x.is_floating_point()
    }
    return {
        **inputs,
        **longer,
        "input_ids": _inserted(ids, beginnings, last),
        "attention_mask": _inserted(mask, blank + 1, last),
    }


def _inserted(x: Tensor, new: Tensor, last: Tensor) -> Tensor:
    """The rows of x, [batch, length], with new ones, [batch, n], behind column `last`, [batch, 1]."""
    n, columns = new.shape[1], torch.arange(x.shape[1] + new.shape[1], device=x.device)[None]
    source = torch.where(columns <= last, columns, columns - n).clamp_min(0)
    out = x.gather(1, source)
    out[(columns > last) & (columns <= last + n)] = new.flatten().to(x.dtype)
    return out
