"""A model with its processor: pictures, videos and questions as model inputs, and which tokens may be dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature

from analysis.models.prompts import answer_tokens, chat_prompts, pictures
from analysis.statistics.grids import TokenGrid
from v2drop import Method, Trace
from v2drop.arguments import whole_number
from v2drop.models.families import FAMILIES
from v2drop.models.parts import is_vision, locate


@dataclass(frozen=True)
class Loaded:
    """A model with its processor.

    Attributes:
        name: The path or hub id of the checkpoint.
        model: The model as transformers made it, in evaluation mode, parameters without gradients.
        processor: The processor, set to pad on the left, as generation needs it.
    """

    name: str
    model: Any = field(repr=False)
    processor: Any = field(repr=False)

    def inputs(self, images: Any, questions: Sequence[str], videos: Sequence | None = None) -> BatchFeature:
        """A batch of prompts in the checkpoint's own chat template: pictures, then video, then question; left-padded.

        All frames of a video are used. Families that write the time of a frame into the prompt (Qwen3-VL, SmolVLM)
        count two frames a second.

        Args:
            images: The pictures of each row: one (uint8 array [height, width, 3] or PIL image, which is turned as its
                EXIF data say), a list of several, or None. None instead of a list if no row has a picture.
            questions: The question of each row.
            videos: The video of each row (uint8 array [frames, height, width, 3] or list of PIL images), or None.

        Returns:
            The keyword arguments of `generate`, on the model's device, floating tensors in its dtype.

        Raises:
            ValueError: The numbers of rows differ, the family does not take such a mix, or the checkpoint has no chat
                template and its family no known prompt.
        """
        asked = as_texts("questions", questions)
        shown, films = pictures.rows(images, len(asked)), _one_each(videos, len(asked))
        inputs = chat_prompts.batch(self.processor, self.family, asked, shown, films)
        return inputs.to(self._device, self.model.dtype)

    def vision_positions(self, inputs: BatchFeature) -> list[list[int]]:
        """The positions of each row's vision tokens (placeholders of pictures and videos) in the prompt.

        Args:
            inputs: A batch that `inputs` has made, with input_ids [batch, length].

        Raises:
            ValueError: `inputs` holds no such input_ids.
        """
        return [row.nonzero().flatten().tolist() for row in self.vision_mask(inputs)]

    def vision_mask(self, inputs: BatchFeature) -> Tensor:
        """Which tokens are vision tokens, those that methods drop: bool [batch, length]; as for `vision_positions`."""
        ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
        if not isinstance(ids, torch.Tensor) or ids.ndim != 2:
            raise ValueError(
                f"inputs must be what Loaded.inputs gives, with input_ids [batch, length]; got {inputs!r}."
            )
        return is_vision(ids, locate(self.model).vision_ids)

    def dropping(self, method: Method, inputs: BatchFeature) -> AbstractContextManager[Trace]:
        """The `with` under which the model drops tokens of these inputs.

        Args:
            method: The method.
            inputs: A batch that `inputs` has made.
        """
        return method(self.model)

    def token_grids(self, image: Any) -> tuple[TokenGrid, ...]:
        """The grids in which the vision tokens of a picture lie on it, in prompt order.

        Args:
            image: One picture, as `inputs` takes it.

        Raises:
            ValueError: The family's layout does not fit the number of tokens.
        """
        from analysis.models.token_grids import grids_of  # late: it imports classes of transformers, see `load`

        shown = pictures.rows([image], 1)[0]
        if len(shown) != 1:
            raise ValueError(f"image must be one picture; got {len(shown)}.")
        inputs = self.inputs(shown, ["where"])
        n = len(self.vision_positions(inputs)[0])
        return grids_of(FAMILIES[self.family].layout, self.processor, inputs, shown[0], shown[0].size[::-1], n)

    def reply(self, image: Any, question: str, max_new_tokens: int = 8) -> str:
        """The greedy answer to one question about one picture.

        Args:
            image: The picture, as in `inputs`.
            question: The question.
            max_new_tokens: The length of the longest answer, in tokens.

        Raises:
            ValueError: `max_new_tokens` is no int of 1 or more, or the prompt cannot be made.
        """
        longest = whole_number("max_new_tokens", max_new_tokens, 1)
        inputs = self.inputs([image], [question])
        out = self.model.generate(**inputs, max_new_tokens=longest, do_sample=False)
        return self.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def answer_ids(self, question: str, answer: str) -> list[int]:
        """The token ids of an answer as they follow the prompt that `inputs` makes of a question and one picture.

        Without an end token; a space stands between the two, unless the prompt ends with blank space.

        Raises:
            ValueError: Question or answer is no text, or no ids behind the prompt spell the answer.
        """
        (asked,) = as_texts("questions", [question])
        return answer_tokens.answer_ids(self.processor, self.family, asked, answer)

    @property
    def family(self) -> str:
        """The `model_type` of the configuration."""
        return self.model.config.model_type

    @property
    def n_layers(self) -> int:
        """The number of decoder layers."""
        return self.model.config.get_text_config().num_hidden_layers

    @property
    def _device(self) -> torch.device:
        """The device of inputs: the CPU for a model on disk, since accelerate moves them from there."""
        return torch.device("cpu") if self.model.device.type == "meta" else self.model.device


def as_texts(what: str, texts: Any) -> list[str]:
    """Some texts as a list.

    Args:
        what: What they are, in messages.
        texts: What a caller gave for them.

    Raises:
        ValueError: They are no texts in an order, one or more.
    """
    in_order = isinstance(texts, Iterable) and not isinstance(texts, (str, Set, Mapping))
    listed = list(texts) if in_order else []
    if not listed or not all(isinstance(text, str) for text in listed):
        raise ValueError(f"{what} must be a list of strings, at least one; got {texts!r}.")
    return [str(text) for text in listed]


def _one_each(videos: Any, n: int) -> list:
    if videos is not None and not isinstance(videos, Sequence):
        raise ValueError(f"videos must be a list with one entry (or None) a question; got one {type(videos).__name__}.")
    shown = [None] * n if videos is None else list(videos)
    if len(shown) != n:
        raise ValueError(f"must be one video (or None) a question, {n} of them; got {len(shown)}.")
    return shown
