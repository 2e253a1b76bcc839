"""What a model says to a batch of prompts: greedy replies, likelihoods of given answers, vision tokens of each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from analysis.models.loaded import Loaded
from v2drop import Trace


class Likelihood(NamedTuple):
    """How likely an answer is.

    Attributes:
        log_probability: The log probability of its tokens after the prompt, in nats.
        is_greedy: Whether each of its tokens is the likeliest one.
    """

    log_probability: float
    is_greedy: bool


def greedy(loaded: Loaded, inputs: Mapping, max_new_tokens: int, **settings: Any) -> Any:
    """What `generate` returns for greedy decoding, with the `logits` of each step.

    Args:
        loaded: Model and processor.
        inputs: A batch that `Loaded.inputs` has made.
        max_new_tokens: The length of the longest reply, in tokens.
        **settings: Further arguments of `generate`.
    """
    settings |= {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    return loaded.model.generate(**inputs, max_new_tokens=max_new_tokens, **settings)


def answer_likelihoods(loaded: Loaded, inputs: Mapping, wanted: Sequence[Sequence[int]]) -> list[Likelihood]:
    """How likely given answers are after the prompts of a batch, from generation that has to give them.

    Args:
        loaded: Model and processor.
        inputs: A batch that `Loaded.inputs` has made.
        wanted: The token ids of each row's answer, one or more.
    """
    longest = max(map(len, wanted))
    return likelihoods_under(
        greedy(loaded, inputs, longest, prefix_allowed_tokens_fn=_force_answers(wanted, inputs)).logits, wanted
    )


def likelihoods_under(logits: Sequence[Tensor], wanted: Sequence[Sequence[int]]) -> list[Likelihood]:
    """How likely given answers are, from the logits of each step of a generation that gave them.

    Args:
        logits: The logits of each step, each [batch, vocabulary]; one step is enough for answers of one token.
        wanted: The token ids of each row's answer, one or more.
    """
    logs = [step.double().log_softmax(-1) for step in logits[: max(map(len, wanted))]]
    return [
        Likelihood(
            sum(float(logs[i][row, token]) for i, token in enumerate(ids)),
            all(int(logs[i][row].argmax()) == token for i, token in enumerate(ids)),
        )
        for row, ids in enumerate(wanted)
    ]


def average_by_row(loaded: Loaded, inputs: Mapping, trace: Trace | None) -> list[float]:
    """The true layer average of each row's vision tokens.

    Args:
        loaded: Model and processor.
        inputs: The batch that ran, as `Loaded.inputs` has made it.
        trace: The trace under which it ran; None if nothing was dropped.
    """
    rows = np.mean(trace.vision_tokens, 0) if trace else [len(row) for row in loaded.vision_positions(inputs)]
    copies = len(rows) // len(inputs["input_ids"])  # of a row, for beams
    return [float(average) for average in rows[::copies]]


def _force_answers(wanted: Sequence[Sequence[int]], inputs: Mapping) -> Callable[[int, Tensor], list[int]]:
    """The tokens that generation may give next, so that each row gives its answer and then repeats its last token."""
    start = inputs["input_ids"].shape[1]
    return lambda row, ids: [wanted[row][min(len(ids) - start, len(wanted[row]) - 1)]]
