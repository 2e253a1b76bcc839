"""What a task says about generation, as arguments of `generate`: lengths, sampling, beams, and texts to stop at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import StoppingCriteria

from v2drop.arguments import whole_number

LONGEST = 1024  # tokens of a reply where a task names no length, as in most models of lmms-eval
FOR_GENERATE = ("max_new_tokens", "min_new_tokens", "num_beams", "length_penalty", "repetition_penalty")
FOR_SAMPLING = ("temperature", "top_p", "top_k")


class Generation(NamedTuple):
    """How replies are generated.

    Attributes:
        settings: Arguments of `generate`.
        until: Texts that end a reply, and are no part of it.
        ignored: Names that are meant for other models.
    """

    settings: dict[str, Any]
    until: tuple[str, ...]
    ignored: tuple[str, ...]


def generation(gen_kwargs: Mapping[str, Any]) -> Generation:
    """What the `generation_kwargs` of a task mean.

    Replies are sampled where `do_sample` is true, or is not said and the temperature is above 0; else they are greedy,
    or the best of `num_beams`.

    Args:
        gen_kwargs: The task's `generation_kwargs`.

    Raises:
        ValueError: `until` is neither a text nor a list of texts, or a length is none.
    """
    told = {name: value for name, value in gen_kwargs.items() if value is not None}
    until = told.pop("until", ())
    stops = (until,) if isinstance(until, str) else until
    if not isinstance(stops, Sequence) or not all(isinstance(stop, str) for stop in stops):
        raise ValueError(f"until must be a text or a list of texts; got {until!r}.")
    warm = told.get("temperature", 1.0 if told.get("do_sample") else 0.0) > 0
    settings = {name: told[name] for name in FOR_GENERATE if name in told}
    settings["max_new_tokens"] = whole_number("max_new_tokens", told.get("max_new_tokens", LONGEST), 1)
    settings["do_sample"] = warm and bool(told.get("do_sample", True))
    if settings["do_sample"]:
        settings |= {name: told[name] for name in FOR_SAMPLING if name in told}
    ignored = sorted(set(told) - {*FOR_GENERATE, *FOR_SAMPLING, "do_sample"})
    return Generation(settings, tuple(stop for stop in stops if stop), tuple(ignored))


def before(text: str, until: Sequence[str]) -> str:
    """The part of a reply before the first text that ends it.

    Args:
        text: The reply.
        until: Texts that end it.

    >>> before("yes. USER: no", ["USER:", "."]), before("yes", ["."])
    ('yes', 'yes')
    """
    return text[: min((text.find(stop) for stop in until if stop in text), default=len(text))]


class StopAtText(StoppingCriteria):
    """Ends a row once its reply holds a text; the prompt is not looked at, which may hold it.

    Args:
        processor: The checkpoint's processor.
        start: The length of the prompts, in tokens.
        until: The texts.
    """

    def __init__(self, processor: Any, start: int, until: Sequence[str]) -> None:
        self._processor, self._start, self._until = processor, start, until

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Whether each row has ended: bool [batch]."""
        replies = self._processor.batch_decode(input_ids[:, self._start :], skip_special_tokens=True)
        return torch.tensor([before(reply, self._until) != reply for reply in replies], device=input_ids.device)
