"""Loading a checkpoint with its processor; pictures, videos and questions as model inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature

from analysis.models import answer_tokens, chat_prompts, pictures
from analysis.models.torchvision_ops import usable
from analysis.statistics.grids import TokenGrid
from v2drop.arguments import whole_number
from v2drop.models.families import FAMILIES
from v2drop.models.parts import is_vision, locate

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "mosaic_llava"


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
        asked = _texts(questions)
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
        ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
        if not isinstance(ids, torch.Tensor) or ids.ndim != 2:
            raise ValueError(
                f"inputs must be what Loaded.inputs gives, with input_ids [batch, length]; got {inputs!r}."
            )
        vision = is_vision(ids, locate(self.model).vision_ids)
        return [row.nonzero().flatten().tolist() for row in vision]

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
        (asked,) = _texts([question])
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


def _texts(questions: Any) -> list[str]:
    in_order = isinstance(questions, Iterable) and not isinstance(questions, (str, Set, Mapping))
    listed = list(questions) if in_order else []
    if not listed or not all(isinstance(question, str) for question in listed):
        raise ValueError(f"questions must be a list of strings, at least one; got {questions!r}.")
    return [str(question) for question in listed]


def _one_each(videos: Any, n: int) -> list:
    if videos is not None and not isinstance(videos, Sequence):
        raise ValueError(f"videos must be a list with one entry (or None) a question; got one {type(videos).__name__}.")
    shown = [None] * n if videos is None else list(videos)
    if len(shown) != n:
        raise ValueError(f"must be one video (or None) a question, {n} of them; got {len(shown)}.")
    return shown


def load(
    name_or_path: str | Path | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    attn_implementation: str | dict[str, str] | None = None,
) -> Loaded:
    """Load an image-and-text checkpoint of any family in the README's table, without running code of its repository.

    Args:
        name_or_path: A folder or a hub id; None for the environment variable V2DROP_MODEL, or without it the embedded
            model.
        dtype: The dtype of the weights: a torch dtype, its name, or "auto" for the checkpoint's own; None for float32
            on a CPU and "auto" on a GPU.
        device_map: The devices of the layers as transformers' `from_pretrained` takes them ("auto", or a dict of
            modules), which needs accelerate; None for the GPU if there is one, else the CPU.
        attn_implementation: The attention operator ("eager", "sdpa", ...), or one for each part of the configuration,
            as {"vision_config": "sdpa"}; None for transformers' choice.

    Raises:
        ValueError: The checkpoint does not exist, cannot be reached, is damaged or fits neither its own configuration
            nor its processor, needs a package that is not installed or code of its own, or is not a supported
            image-and-text model; or an option does not exist on this machine.
    """
    name = _name(name_or_path)
    usable()
    # Imported late: a torchvision that does not fit must be mended before any class of transformers is imported.
    from analysis.models import checkpoint

    return Loaded(name, *checkpoint.read(name, dtype, device_map, attn_implementation))


def _name(given: Any) -> str:
    """The checkpoint that is asked for, by argument or environment."""
    what, value = "name_or_path", given
    if given is None:
        what, value = "V2DROP_MODEL", os.environ.get("V2DROP_MODEL", str(EMBEDDED))
    if not isinstance(value, (str, os.PathLike)) or not str(value).strip():
        raise ValueError(
            f"{what} must be a folder or a hub id; got {value!r}. For the embedded model, load() without V2DROP_MODEL."
        )
    return os.fspath(value)
