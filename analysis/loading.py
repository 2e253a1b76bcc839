"""A checkpoint, its processor, and the way from pictures and questions to model inputs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, BatchFeature, logging

EMBEDDED = Path(__file__).resolve().parents[1] / "data" / "mosaic_llava"

ADVICE = (
    "Give a folder that save_pretrained wrote, or a hub id spelt as on its page (log in for a gated one; unset "
    "HF_HUB_OFFLINE to download); leave V2DROP_MODEL unset for the embedded model, which lies in data/ of a clone."
)


@dataclass(frozen=True)
class Loaded:
    """What a study runs on.

    Attributes:
        name: path or hub id it came from.
        model: as transformers made it, in evaluation mode, parameters without gradients.
        processor: with padding on the left, as generation wants it.
    """

    name: str
    model: Any
    processor: Any

    def inputs(self, images: list, questions: list[str]) -> BatchFeature:
        """One picture and one question a row, in the checkpoint's own chat template, left-padded.

        Args:
            images: uint8 arrays [height, width, 3] or PIL images.
            questions: as many.
        """
        texts = [self._prompt(question) for question in questions]
        batch = self.processor(images=list(images), text=texts, padding=True, return_tensors="pt")
        return batch.to(self.model.device, self.model.dtype)

    def vision_positions(self, inputs: BatchFeature) -> list[list[int]]:
        """Where each row's image tokens are in the prompt."""
        return [row.nonzero().flatten().tolist() for row in inputs["input_ids"] == self.model.config.image_token_id]

    def reply(self, image: Any, question: str, max_new_tokens: int = 8) -> str:
        """The greedy answer to one question."""
        inputs = self.inputs([image], [question])
        out = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        return self.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def answer_ids(self, question: str, answer: str) -> list[int]:
        """Tokens of an answer as they follow the prompt of a question, the end not among them."""
        prompt = self._prompt(question)
        space = "" if prompt[-1:].isspace() else " "
        before, whole = (self.processor.tokenizer(text)["input_ids"] for text in (prompt, prompt + space + answer))
        return whole[len(before) :]

    @property
    def n_layers(self) -> int:
        """Decoder layers."""
        return self.model.config.text_config.num_hidden_layers

    def _prompt(self, question: str) -> str:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        return self.processor.apply_chat_template([turn], add_generation_prompt=True)


def load(name_or_path: str | Path | None = None) -> Loaded:
    """Load a checkpoint: float32 on a CPU, its own dtype on a GPU.

    Args:
        name_or_path: a folder or a hub id; by default what the environment variable V2DROP_MODEL says, else the
            embedded model.

    Raises:
        ValueError: there is no such checkpoint, it cannot be reached, or it is no image-and-text model.
    """
    name = str(name_or_path or os.environ.get("V2DROP_MODEL") or EMBEDDED)
    if name.startswith((".", "/", "~")) and not Path(name).is_dir():
        raise ValueError(f"{name!r} cannot be loaded: there is no such folder. {ADVICE}")
    cuda = torch.cuda.is_available()
    try:
        with _quiet():
            processor = AutoProcessor.from_pretrained(name)
            model = AutoModelForImageTextToText.from_pretrained(name, dtype="auto" if cuda else torch.float32)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name!r} cannot be loaded: {str(error).splitlines()[0]} {ADVICE}") from error
    processor.tokenizer.padding_side = "left"
    model = model.to("cuda" if cuda else "cpu").eval().requires_grad_(False)
    return Loaded(name, model, processor)


@contextmanager
def _quiet() -> Iterator[None]:
    """No remark that torchvision, which nothing here needs, is missing; no bar that ends up in a notebook's output."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of reading weights from disk; downloads still show theirs
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
