"""Requests of an evaluation: in chunks of a batch's size, answered in their own order, once or for several rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from analysis.comparison.replies import Likelihood
from analysis.lmms.asking import Asking, Tokens
from analysis.lmms.generation import generation
from analysis.lmms.rows import Row, chunks, row
from analysis.progress import progress_bar


class Request(NamedTuple):
    """One request of a task.

    Attributes:
        task: The task's name.
        text: The question.
        visuals: A function that gives what is shown, called when the request's turn comes: pictures take memory.
        gen_kwargs: The task's `generation_kwargs`.
    """

    task: str
    text: str
    visuals: Callable[[], Sequence[Any] | None]
    gen_kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Requests:
    """A model under a method that answers requests.

    Attributes:
        asking: The model under its method.
        batch_size: The number of requests that are asked at once, at most.
        read_video: A function from a path to the frames of a video, uint8 [frames, height, width, 3].
    """

    asking: Asking
    batch_size: int
    read_video: Callable[[str], np.ndarray]

    def replies(self, requests: Sequence[Request]) -> list[tuple[str, Tokens]]:
        """The reply to each request.

        Args:
            requests: The requests.

        Raises:
            ValueError: A request cannot be asked, or the method's average cannot be reached in it.
        """

        def answer(rows: list[Row], numbers: list[int]) -> list[tuple[str, Tokens]]:
            return self.asking.replies(rows, generation(requests[numbers[0]].gen_kwargs))

        return self._in_chunks(requests, answer)

    def likelihoods(self, requests: Sequence[Request], answers: Sequence[str]) -> list[tuple[Likelihood, Tokens]]:
        """How likely an answer to each request is.

        Args:
            requests: The requests.
            answers: The answer to each.

        Raises:
            ValueError: As for `replies`, or an answer has no tokens.
        """

        def answer(rows: list[Row], numbers: list[int]) -> list[tuple[Likelihood, Tokens]]:
            return self.asking.likelihoods(rows, [answers[number] for number in numbers])

        return self._in_chunks(requests, answer)

    def rounds(
        self, requests: Sequence[Request], following: Sequence[Callable[..., tuple]]
    ) -> tuple[list[list[str]], list[Tokens]]:
        """The replies to each request, whose task asks again until it says that it is done.

        Args:
            requests: The first round.
            following: For each request a function of its replies (previous_output), the number of the round
                (round_idx) and what it said last (previous_round_info), which gives what is shown next, the next
                question, whether it is done, the replies as it wants them, and what it wants to be told next time.

        Returns:
            The replies to each request, and the tokens of all rounds.

        Raises:
            ValueError: As for `replies`.
        """
        now, outputs, told = list(requests), [[] for _ in requests], [None for _ in requests]
        tokens, live, number = [], list(range(len(requests))), 0
        while live:
            said, number = self.replies([now[i] for i in live]), number + 1
            tokens += [each for _, each in said]
            for i, (text, _) in zip(live[:], said, strict=True):
                outputs[i] = [*outputs[i], text]
                last = {"previous_output": outputs[i], "round_idx": number, "previous_round_info": told[i]}
                shown, question, done, outputs[i], told[i] = following[i](**last)
                if done:
                    live.remove(i)
                else:
                    now[i] = now[i]._replace(text=question, visuals=lambda shown=shown: shown)
        return [list(each) for each in outputs], tokens

    def _in_chunks(self, requests: Sequence[Request], answer: Callable[[list[Row], list[int]], list]) -> list:
        keys = ((each.task, repr(sorted(each.gen_kwargs.items()))) for each in requests)
        found: dict[int, Any] = {}
        with progress_bar(total=len(requests), desc="requests", unit="req") as progress:
            for numbers in chunks(keys, [len(each.text) for each in requests], self.batch_size):
                asked = [requests[number] for number in numbers]
                rows = [row(each.text, each.visuals(), self.read_video) for each in asked]
                found |= zip(numbers, answer(rows, numbers), strict=True)
                progress.update(len(numbers))
        return [found[number] for number in range(len(requests))]
