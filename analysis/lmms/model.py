"""`V2DropModel`, the model that lmms-eval runs: its requests in, replies and likelihoods out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from loguru import logger

from analysis.lmms.asking import Asking, Tokens
from analysis.lmms.generation import generation
from analysis.lmms.method_choice import method_choice
from analysis.lmms.records import of_request, of_run
from analysis.lmms.requests import Request, Requests
from analysis.models.loading import load
from analysis.models.text import LoadedText
from v2drop.arguments import whole_number


class V2DropModel(lmms):
    """Any checkpoint of any family under any method, or none.

    Every sample has the true layer average and the schedule under `token_counts`; the results have their means under
    `throughput`.

    Args:
        pretrained: A folder or hub id, as for `analysis.load`; None for V2DROP_MODEL or the embedded model.
        method: A name in `v2drop.METHODS`, or "none".
        dtype: As for `analysis.load`.
        attn_implementation: As for `analysis.load`.
        device: The device, or "auto" for layers on several; None for the GPU if there is one.
        batch_size: The number of requests that are asked at once, at most.
        max_frames_num: The number of frames that a video is seen by, at most.
        **arguments: The schedule and further arguments of the method (`analysis.lmms.method_choice`).

    Raises:
        ValueError: An argument does not exist, has a wrong value, or does not fit the model.
    """

    is_simple = True  # pictures come before the question, as in all prompts of `analysis`

    def __init__(
        self,
        pretrained: str | None = None,
        method: str = "v2drop",
        dtype: str | None = None,
        attn_implementation: str | None = None,
        device: str | None = None,
        batch_size: int | str = 1,
        max_frames_num: int = 32,
        **arguments: Any,
    ) -> None:
        super().__init__()
        choice = method_choice(method, **arguments)
        size = int(batch_size) if str(batch_size).isdecimal() else batch_size  # the command line gives a text
        size, frames = whole_number("batch_size", size, 1), whole_number("max_frames_num", max_frames_num, 1)
        loaded = load(pretrained, dtype=dtype, device_map=_own(device), attn_implementation=attn_implementation)
        if isinstance(loaded, LoadedText):
            raise ValueError(f"pretrained must be a model for pictures; got the text model {loaded.name}.")
        choice.check(loaded)
        # lmms-eval deletes every attribute that is a module after a run; of an object that holds one it knows nothing.
        self._requests = Requests(Asking(loaded, choice), size, partial(read_frames, most=frames))

    @property
    def device(self) -> torch.device:
        """The device of the model, on which lmms-eval gathers what several processes found."""
        return self._requests.asking.loaded.model.device

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """The reply to each request."""
        asked = [self._request(context, told, *rest) for context, told, *rest in (each.args for each in requests)]
        _warn_of_ignored(asked)
        started = time.perf_counter()
        said = self._requests.replies(asked)
        _log([tokens for _, tokens in said], time.perf_counter() - started)
        return [GenerationResult(text, RequestTokens.of(tokens)) for text, tokens in said]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """The replies to all rounds of each request."""
        asked, following = [], []
        for context, told, to_visual, to_text, number, task, split in (each.args for each in requests):
            asked.append(self._request(context, told, to_visual, number, task, split))
            following.append(partial(to_text, self.task_dict[task][split][number]))
        _warn_of_ignored(asked)
        started = time.perf_counter()
        outputs, tokens = self._requests.rounds(asked, following)
        _log(tokens, time.perf_counter() - started)
        return outputs

    def loglikelihood(self, requests: list[Instance]) -> list[GenerationResult]:
        """The log probability of each answer and whether it is the greedy one, as the `text` of a result.

        For the choices of a multiple-choice task it is the negative log probability: lmms-eval takes the *smallest* for
        the answer, since its models return losses (EvolvingLMMs-Lab/lmms-eval#370). It would make a text of a pair that
        is not in a `GenerationResult`.
        """
        asked, answers, signs = [], [], []
        for context, target, *rest in (each.args for each in requests):
            asked.append(self._request(context, {}, *rest))
            _, number, task, split = rest
            answers.append(target if isinstance(target, str) else target(self.task_dict[task][split][number]))
            signs.append(-1 if isinstance(target, str) else 1)
        started = time.perf_counter()
        said = self._requests.likelihoods(asked, answers)
        _log([tokens for _, tokens in said], time.perf_counter() - started)
        return [
            GenerationResult((sign * found.log_probability, found.is_greedy), RequestTokens.of(tokens))
            for sign, (found, tokens) in zip(signs, said, strict=True)
        ]

    def _request(self, context: str, told: dict, to_visual: Any, number: int, task: str, split: str) -> Request:
        return Request(task, context, lambda: to_visual(self.task_dict[task][split][number]), told)


@dataclass
class RequestTokens(TokenCounts):
    """Tokens of a request as samples show them, with the true layer average and the schedule."""

    shown: dict[str, Any] | None = None

    @classmethod
    def of(cls, tokens: Tokens) -> RequestTokens:
        """The tokens of a request."""
        return cls(tokens.prompt, tokens.output, shown=of_request(tokens))

    def to_dict(self) -> dict[str, Any]:
        """The entry of a sample."""
        return dict(self.shown or {})


def read_frames(path: str, most: int) -> np.ndarray:
    """Frames of a video from its first to its last, evenly spaced: uint8 [frames, height, width, 3].

    lmms-eval's own reader, so that a model sees the frames that its other models see.

    Args:
        path: The file.
        most: The number of frames, at most.
    """
    from lmms_eval.models.model_utils.load_video import read_video  # late: it needs av

    frames = read_video(path, num_frm=most)  # all there are, of a file that does not say how many
    return frames[np.linspace(0, len(frames) - 1, min(most, len(frames)), dtype=int)]


def _own(device: str | None) -> str | None:
    """The device of this process, of those that `accelerate launch` has started; else the one that was asked for."""
    rank = os.environ.get("LOCAL_RANK")
    shared = rank is not None and torch.cuda.is_available() and device in (None, "cuda")
    return f"cuda:{rank}" if shared else device


def _warn_of_ignored(requests: Sequence[Request]) -> None:
    names = {name for each in requests for name in generation(each.gen_kwargs).ignored}
    if names:
        logger.warning(f"generation_kwargs that this model does not know are ignored: {', '.join(sorted(names))}")


def _log(tokens: Sequence[Tokens], seconds: float) -> None:
    """Give lmms-eval the means, which it writes into the results."""
    made = sum(each.output for each in tokens)
    log_metrics(seconds, made, made / seconds, of_run(tokens) | {"total_requests": len(tokens)})
