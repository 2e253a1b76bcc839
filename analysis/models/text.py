"""Language models without pictures: texts take the pictures' place, and their tokens are those that may be dropped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from transformers import BatchFeature

from analysis.models.loaded import Loaded, as_texts
from v2drop import Method, Trace


class TextInputs(BatchFeature):
    """The keyword arguments of a model, and which tokens are those of the texts.

    Attributes:
        droppable: Bool [batch, sequence].
    """

    droppable: Tensor


@dataclass(frozen=True)
class LoadedText(Loaded):
    """A language model with its tokenizer, offered as one for pictures is.

    A prompt is the text, a line break, and the question, which the model goes on from. No chat template is used: a
    question may end in the middle of a sentence. Where a tokenizer makes one token of the text's last sign and the line
    break, that token is none of the text's.

    Attributes:
        drops_start: Whether the start token in front counts as one of the text's, and so may be dropped.
    """

    drops_start: bool = False

    def __post_init__(self) -> None:
        """Check that there is a start token if it is to count."""
        if self.drops_start and not self.processor.bos_token:
            raise ValueError("drops_start must be False for a tokenizer without a start token; got True.")

    def inputs(self, texts: Sequence[str], questions: Sequence[str], videos: None = None) -> TextInputs:
        """A batch of prompts, padded on the left: text, line break, question.

        Args:
            texts: The text of each row, in the place of pictures.
            questions: The question of each row.
            videos: None.

        Returns:
            The keyword arguments of `generate`, with the attribute `droppable`.

        Raises:
            ValueError: There are pictures or videos, a text is blank or ends in blank space (which would be one token
                with the line break), or the numbers of rows differ.
        """
        asked, shown = as_texts("questions", questions), _checked_texts(texts)
        if videos is not None or len(shown) != len(asked):
            raise ValueError(
                f"a text model takes one text a question and no videos; got {len(shown)} texts and {len(asked)} "
                f"questions{'' if videos is None else ', and videos'}."
            )
        made, spans = self._tokenised(shown, asked)
        inputs = TextInputs(made).to(self._device)
        inputs.droppable = (spans[..., 0] >= 0).to(self._device)
        return inputs

    def _tokenised(self, texts: list[str], questions: list[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Padded prompts, and the characters of each token, int64 [batch, length, 2]; -1 where it is not the text's."""
        start = self.processor.bos_token or ""
        written = [f"{start}{text}\n{question}" for text, question in zip(texts, questions, strict=True)]
        settings = {"add_special_tokens": False, "padding": True, "return_tensors": "pt"}
        made = dict(self.processor(written, return_offsets_mapping=True, **settings))
        spans = made.pop("offset_mapping") - len(start)
        first, behind = spans.unbind(-1)
        inside = (first >= 0) & (behind > first) & (behind <= torch.tensor([[len(text)] for text in texts]))
        spans = spans.masked_fill(~inside[..., None], -1)
        if self.drops_start:
            spans[torch.arange(len(texts)), made["attention_mask"].int().argmax(1)] = 0
        return made, spans

    def text_spans(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token that `vision_mask` marks: first, and behind the last; 0, 0 for a start token."""
        spans = self._tokenised(_checked_texts([text]), [""])[1][0]
        return [tuple(span) for span in spans[spans[:, 0] >= 0].tolist()]

    def vision_mask(self, inputs: TextInputs) -> Tensor:
        """Which tokens are the text's, those that methods drop: bool [batch, length].

        Raises:
            ValueError: `inputs` is not what `inputs` gives.
        """
        if not isinstance(inputs, TextInputs):
            raise ValueError(f"inputs must be what Loaded.inputs gives; got a {type(inputs).__name__}.")
        return inputs.droppable

    def dropping(self, method: Method, inputs: TextInputs) -> AbstractContextManager[Trace]:
        """The `with` under which the model drops tokens of the texts."""
        return method(self.model, vision_mask=self.vision_mask(inputs))

    def answer_ids(self, question: str, answer: str) -> list[int]:
        """The token ids of an answer as they follow a question, a space between the two; without an end token.

        Raises:
            ValueError: Question or answer is no text, or the tokenizer joins the two.
        """
        (asked,), (wanted,) = as_texts("questions", [question]), as_texts("answers", [answer])
        before, whole = (self.processor(t, add_special_tokens=False).input_ids for t in (asked, f"{asked} {wanted}"))
        if whole[: len(before)] != before or len(whole) == len(before):
            raise ValueError(f"the tokenizer of this checkpoint has no tokens for {answer!r} behind {question!r}.")
        return whole[len(before) :]

    def token_grids(self, image: Any) -> NoReturn:
        """Refused: a text has no grid."""
        raise ValueError("a text model's tokens lie in no grid; ask for pictures, or leave the grid out.")


def _checked_texts(texts: Any) -> list[str]:
    listed = list(texts) if isinstance(texts, (list, tuple)) else []  # one string alone is no list of texts
    odd = [text for text in listed if not isinstance(text, str) or text != text.rstrip() or not text]
    if odd or not listed:
        shown = repr(odd[0])[:80] if odd and isinstance(odd[0], str) else [type(each).__name__ for each in odd[:1]]
        shown = shown if listed else f"a {type(texts).__name__}"
        raise ValueError(
            "this is a text model: texts must be a list of strings that do not end in blank space, one for each "
            f"question, as text_sample gives them; got {shown}."
        )
    return listed
