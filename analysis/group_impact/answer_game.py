"""The log probability of the right answer when only some vision tokens stay: a cooperative game of the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from analysis.residual_stream.answer_streams import continued
from analysis.residual_stream.frozen_decoder import FrozenDecoder
from analysis.residual_stream.measured_tokens import measured_prompts
from analysis.residual_stream.stream import Stream
from analysis.theorem.interventions import one_thread_each


class AnswerGame:
    """v(S) of one prompt: its players are the vision tokens, its value the log probability of the answer.

    Answers of several tokens are read by teacher forcing: the sum over their tokens, each behind the right ones before.

    Args:
        decoder: The model's decoder, with a language-model head.
        model: The model.
        inputs: The keyword arguments that the model is called with, for one row.
        answer: The answer's token ids, one or more (`Loaded.answer_ids`).
        players: Positions in the prompt of the tokens that may go; None for its vision tokens.

    Attributes:
        stream: The residual stream of the prompt followed by the answer without its last token.
        tokens: Positions of the players in the prompt, [player]; a last token of the prompt is none, since the
            answer is read there.

    Raises:
        ValueError: The prompt has no vision token, or as for `measured_prompts`.
    """

    def __init__(
        self,
        decoder: FrozenDecoder,
        model: nn.Module,
        inputs: Mapping[str, Any],
        answer: Sequence[int],
        players: Sequence[int] | None = None,
    ) -> None:
        """Run the prompt once, with all tokens."""
        self._answer = list(answer)
        behind = len(self._answer) - 1
        longer = continued(inputs, [self._answer], behind) if behind else inputs
        ((_, self.stream, tokens),) = measured_prompts(decoder, model, longer, players)
        self.tokens: Int[Tensor, " player"] = tokens[tokens < self.stream.length - len(self._answer)]

    def values(
        self, layer: int, kept: Bool[np.ndarray, "subset player"], batch_size: int = 16
    ) -> Float[np.ndarray, " subset"]:
        """V of some subsets, in nats, float64; only the layers behind `layer` run.

        Args:
            layer: The layer l behind which only the subset's tokens stay; all others are removed from l + 1 on.
            kept: The subsets.
            batch_size: The number of subsets of one size that run at once.
        """
        values, sizes = np.empty(len(kept)), kept.sum(1)
        same = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        batches = [rows[start : start + batch_size] for rows in same for start in range(0, len(rows), batch_size)]

        @torch.no_grad()
        def run(rows: np.ndarray) -> None:
            read = self._run(layer, torch.from_numpy(kept[rows]).to(self.tokens.device))
            values[rows] = self._log_probability(read).cpu().numpy()

        with one_thread_each(self.tokens.device) as pool:
            list(pool.map(run, batches))
        return values

    def _run(self, layer: int, kept: Bool[Tensor, "subset player"]) -> Float[Tensor, "subset answer dim"]:
        """What the last layer writes where the answer is read, for subsets of one size."""
        stream: Stream = self.stream
        there = torch.ones(len(kept), stream.length, dtype=torch.bool, device=kept.device)
        there[:, self.tokens] = kept
        first = int(self.tokens.min()) if stream.causal else 0
        which = there[:, first:].nonzero()[:, 1].view(len(kept), -1) + first
        states = stream.states[layer + 1][which]
        step = stream.resume_from(first, which, read=len(self._answer))
        for later in range(layer + 1, stream.n_layers):
            states = step(later, states)
        return states[:, -len(self._answer) :]

    def _log_probability(self, states: Float[Tensor, "subset answer dim"]) -> Float[Tensor, " subset"]:
        logits = self.stream.decoder.logits(states.flatten(0, 1)).double().view(*states.shape[:2], -1)
        wanted = torch.tensor(self._answer, device=logits.device).expand(len(logits), -1)
        return logits.log_softmax(-1).gather(2, wanted[..., None]).sum((1, 2))
