"""The token ids of an answer: those that follow the prompt, as the processor itself has the two tokenised."""

from __future__ import annotations

import copy
from typing import Any

import PIL.Image

from analysis.models.prompts import chat_prompts

BLANK = PIL.Image.new("RGB", (32, 32))  # the end of a prompt is the same whatever its picture


def answer_ids(processor: Any, family: str, question: str, answer: str) -> list[int]:
    """The token ids of an answer as they follow the prompt of a question about one picture, without an end token.

    A space stands between the two, unless the prompt ends with blank space. Where the tokenizer would join the end of
    the prompt and the answer's beginning in one token, which the prompt's own ids rule out, the answer's ids are those
    that it has by itself.

    Args:
        processor: The checkpoint's processor.
        family: The `model_type` of the configuration.
        question: The question.
        answer: The answer.

    Raises:
        ValueError: The answer is no text, or no ids behind the prompt spell it.
    """
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError(f"an answer must be a text that is not blank; got {answer!r}.")
    tokenizer = _Continuing(processor.tokenizer, answer)
    continued = copy.copy(processor)
    continued.tokenizer = tokenizer
    prompt = chat_prompts.batch(continued, family, [question], [[BLANK]], [None])["input_ids"][0].tolist()
    ids = tokenizer.continued[len(prompt) :]
    if tokenizer.continued[: len(prompt)] != prompt:
        ids = processor.tokenizer(tokenizer.appended, add_special_tokens=False)["input_ids"]
        _check_spelt(processor.tokenizer, prompt + ids, tokenizer.continued, answer)
    if not ids or processor.tokenizer.unk_token_id in ids:
        raise ValueError(f"the tokenizer of this checkpoint has no tokens for the answer {answer!r}.")
    return ids


class _Continuing:
    """A tokenizer that, beside what it is asked to tokenise, tokenises the same with an answer behind it.

    So the answer follows the very text that the processor makes of a prompt, under the settings it tokenises with.
    """

    def __init__(self, tokenizer: Any, answer: str) -> None:
        self._tokenizer, self._answer = tokenizer, answer
        self.appended, self.continued = "", []

    def __call__(self, text: Any, **settings: Any) -> Any:
        (written,) = [text] if isinstance(text, str) else text
        self.appended = self._answer if written[-1:].isspace() else f" {self._answer}"
        as_lists = settings | {"return_tensors": None}
        self.continued = self._tokenizer([written + self.appended], **as_lists)["input_ids"][0]
        return self._tokenizer(text, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def _check_spelt(tokenizer: Any, ids: list[int], joined: list[int], answer: str) -> None:
    """Refuse ids that together spell another text than prompt and answer do."""
    if tokenizer.decode(ids) != tokenizer.decode(joined):
        raise ValueError(
            f"the tokenizer of this checkpoint joins the end of the prompt and the answer {answer!r} in one token, so "
            "that no tokens of the answer follow the prompt; give it a chat template that does not end in a space."
        )
