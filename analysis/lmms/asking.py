"""Asking rows under a method: replies or likelihoods, with the tokens each row really ran on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import BatchFeature

from analysis.comparison.replies import Likelihood, answer_likelihoods, average_by_row
from analysis.lmms.generation import Generation, StopAtText, before
from analysis.lmms.method_choice import MethodChoice
from analysis.lmms.rows import Row, batches
from analysis.models.loaded import Loaded
from analysis.scenes.question_seeds import with_question_seeds
from v2drop import Method

Said = list[tuple[Any, int]]  # what was said of each row, and its number of tokens


class Tokens(NamedTuple):
    """Tokens of one request.

    Attributes:
        prompt: Tokens of the prompt.
        output: Tokens of the reply, without the one that ends it.
        vision: Vision tokens of the prompt.
        layer_average: The true layer average of vision tokens.
        left: The number of vision tokens that the schedule leaves from each drop layer on.
    """

    prompt: int
    output: int
    vision: int
    layer_average: float
    left: Mapping[int, int]


@dataclass(frozen=True)
class Asking:
    """A model under a method.

    Attributes:
        loaded: Model and processor.
        choice: The method.
    """

    loaded: Loaded
    choice: MethodChoice

    def replies(self, rows: Sequence[Row], how: Generation) -> list[tuple[str, Tokens]]:
        """The reply to each row, up to the first text that ends it.

        Args:
            rows: The rows; those that fit into one batch are asked in one.
            how: How replies are generated.

        Raises:
            ValueError: The family does not take such prompts, or the average cannot be reached in one.
        """

        def answer(inputs: BatchFeature, _: list[int]) -> Said:
            processor, start = self.loaded.processor, inputs["input_ids"].shape[1]
            stops = [StopAtText(processor, start, how.until)] if how.until else None
            out = self.loaded.model.generate(**inputs, **how.settings, stopping_criteria=stops)[:, start:]
            texts = processor.batch_decode(out, skip_special_tokens=True)
            lengths = (~torch.isin(out, self._ends().to(out.device))).sum(1).tolist()
            return [(before(text, how.until), length) for text, length in zip(texts, lengths, strict=True)]

        return self._each(rows, answer)

    def likelihoods(self, rows: Sequence[Row], answers: Sequence[str]) -> list[tuple[Likelihood, Tokens]]:
        """How likely an answer to each row is, as `analysis.accuracy` computes it.

        Args:
            rows: The rows.
            answers: The answer to each; blanks around it do not count.

        Raises:
            ValueError: An answer is blank or has no tokens, or as for `replies`.
        """
        pairs = zip(rows, answers, strict=True)
        wanted = [self.loaded.answer_ids(row.text, answer.strip()) for row, answer in pairs]

        def answer(inputs: BatchFeature, numbers: list[int]) -> Said:
            ids = [wanted[number] for number in numbers]
            return [(said, len(i)) for said, i in zip(answer_likelihoods(self.loaded, inputs, ids), ids, strict=True)]

        return self._each(rows, answer)

    @torch.no_grad()
    def _each(self, rows: Sequence[Row], answer: Callable[[BatchFeature, list[int]], Said]) -> list[tuple[Any, Tokens]]:
        found: dict[int, tuple[Any, Tokens]] = {}
        for numbers, inputs, counts in batches(self.loaded, rows, self.choice.by_prompt):
            method = self._method([rows[number] for number in numbers], max(counts))
            with self.loaded.dropping(method, inputs) if method else nullcontext() as trace:
                said = answer(inputs, numbers)
            each = (average_by_row(self.loaded, inputs, trace), inputs["attention_mask"].sum(1).tolist(), counts)
            for number, (value, length), average, prompt, n in zip(numbers, said, *each, strict=True):
                left = method.schedule.after(n) if method else {}
                found[number] = value, Tokens(prompt, length, n, average, left)
        return [found[number] for number in range(len(rows))]

    def _ends(self) -> Tensor:
        """The ids that end a reply or fill its row behind the end."""
        settings = self.loaded.model.generation_config
        ids = (settings.pad_token_id, settings.eos_token_id, self.loaded.processor.tokenizer.pad_token_id)
        return torch.tensor(
            [i for each in ids if each is not None for i in (each if isinstance(each, list) else [each])]
        )

    def _method(self, rows: Sequence[Row], n_tokens: int) -> Method | None:
        method = self.choice.method_for(self.loaded, n_tokens)
        return method and with_question_seeds(method, [(row, row) for row in rows])
