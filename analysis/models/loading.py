"""A checkpoint, its processor, and the way from pictures, videos and questions to model inputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature

from analysis.models import chat_prompts
from analysis.models.torchvision_ops import usable
from v2drop.models import is_vision, locate

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "mosaic_llava"


@dataclass(frozen=True)
class Loaded:
    """What a study runs on.

    Attributes:
        name: path or hub id it came from.
        model: as transformers made it, in evaluation mode, parameters without gradients.
        processor: with padding on the left, as generation wants it.
    """

    name: str
    model: Any = field(repr=False)
    processor: Any = field(repr=False)

    def inputs(self, images: Any, questions: Sequence[str], videos: Sequence | None = None) -> BatchFeature:
        """One question a row, after its pictures and video, in the checkpoint's own chat template, left-padded.

        Videos are seen as they are given: no frame is left out. Families that tell the model the time of a frame
        (Qwen3-VL, SmolVLM) are told two frames a second.

        Args:
            images: a row is one picture (uint8 array [height, width, 3] or PIL image), a list of several, or None;
                None if no row has any.
            questions: as many rows.
            videos: a row is one video (uint8 array [frames, height, width, 3] or list of PIL images) or None.

        Returns:
            what `generate` takes, on the model's device; floating tensors in its dtype.

        Raises:
            ValueError: the rows do not fit each other, the family does not take such a mix, or the checkpoint has no
                chat template and its family no known prompt.
        """
        if isinstance(questions, str) or not questions:
            raise ValueError(f"questions must be a list of strings, at least one; got {questions!r}.")
        n = len(questions)
        pictures, shown = chat_prompts.rows(images, n), list(videos) if videos is not None else [None] * n
        if len(shown) != n:
            raise ValueError(f"must be one video (or None) a question, {n} of them; got {len(shown)}.")
        inputs = chat_prompts.batch(self.processor, self.family, list(questions), pictures, shown)
        return inputs.to(self._device, self.model.dtype)

    def vision_positions(self, inputs: BatchFeature) -> list[list[int]]:
        """Where each row's placeholders of pictures and videos are in the prompt."""
        found = is_vision(inputs["input_ids"], locate(self.model).vision_ids)
        return [row.nonzero().flatten().tolist() for row in found]

    def reply(self, image: Any, question: str, max_new_tokens: int = 8) -> str:
        """The greedy answer to one question."""
        inputs = self.inputs([image], [question])
        out = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        return self.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def answer_ids(self, question: str, answer: str) -> list[int]:
        """Tokens of an answer as they follow the prompt of a question, the end not among them."""
        prompt = chat_prompts.prompt(self.processor, self.family, question)
        space = "" if prompt[-1:].isspace() else " "
        before, whole = (self.processor.tokenizer(text)["input_ids"] for text in (prompt, prompt + space + answer))
        return whole[len(before) :]

    @property
    def family(self) -> str:
        """`model_type` of the configuration."""
        return self.model.config.model_type

    @property
    def n_layers(self) -> int:
        """Decoder layers."""
        return self.model.config.get_text_config().num_hidden_layers

    @property
    def _device(self) -> torch.device:
        """Where inputs go: of a model that lies on disk, accelerate fetches them from the CPU."""
        return torch.device("cpu") if self.model.device.type == "meta" else self.model.device


def load(
    name_or_path: str | Path | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    attn_implementation: str | dict[str, str] | None = None,
) -> Loaded:
    """Load an image-and-text checkpoint of any family that the README lists, without running code of its repository.

    Args:
        name_or_path: a folder or a hub id; by default what the environment variable V2DROP_MODEL says, else the
            embedded model.
        dtype: of the weights: a torch dtype, its name, or "auto" for the checkpoint's own; by default float32 on a
            CPU and "auto" on a GPU.
        device_map: spreads layers over devices and disk as transformers' `from_pretrained` does ("auto", or a dict
            of modules); needs accelerate. By default the whole model goes to the GPU if there is one.
        attn_implementation: "eager", "sdpa", ..., or one for each part, as {"vision_config": "sdpa"}; by default what
            transformers chooses.

    Raises:
        ValueError: there is no such checkpoint, it cannot be reached, needs a package that is not installed or code of
            its own, is no supported image-and-text model, or an option does not exist here.
    """
    usable()
    # Late, because a torchvision that does not fit must be mended before any class of transformers is imported.
    from analysis.models import checkpoint

    name = str(name_or_path or os.environ.get("V2DROP_MODEL") or EMBEDDED)
    return Loaded(name, *checkpoint.read(name, dtype, device_map, attn_implementation))
