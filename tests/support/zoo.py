"""The zoo: a tiny random model of every family, with its real processor, and prompts that went through it."""

import warnings
from functools import cache
from itertools import cycle

import numpy
import torch
from torch import Tensor

from tests.support.zoo_models import BUILD
from tests.support.zoo_processors import PROCESSORS, template, words
from tests.support.zoo_words import BYTES
from v2drop.contract.toys import Batch

TEXT_ONLY = tuple(name for name in BUILD if name not in PROCESSORS)
VARIANTS = {"paligemma2": "paligemma", "qwen2_window": "qwen2", "mistral_window": "mistral"}  # of one model_type
SIZES = [(32, 64), (48, 32), (48, 48), (32, 32), (64, 40), (32, 96)]  # of pictures: height, width
FRAMES = {  # four of others: Qwen's make two patches in time
    "smolvlm": 2,  # with text between them
    "internvl": 2,
    "qwen2_5_vl": 8,  # four patches in time: their ids run ahead of those of the text that follows
}


@cache
def model(name: str, operator: str = "sdpa"):
    """One model per name and attention operator, one of `operators(name)`; the weights depend on the name only."""
    torch.manual_seed(sum(map(ord, name)))
    built = BUILD[name]().eval().requires_grad_(False)
    built.set_attn_implementation(operator)
    return built


def operators(name: str) -> tuple[str, ...]:
    """Of attention: transformers runs Gemma 2, which caps its attention scores, without sdpa."""
    return ("eager",) if name == "paligemma2" else ("eager", "sdpa")


@cache
def processor(name: str):
    built = PROCESSORS[name]()
    built.chat_template = template(name)
    return built


def kinds(name: str) -> tuple[str, ...]:
    """What the family takes, by its processor."""
    if name in TEXT_ONLY:
        return ()
    return ("image", "images") + (("video",) if hasattr(processor(name), "video_processor") else ())


def prompt(name: str, rows: list[str], side: str = "left", seed: int = 0, alone: int | None = None) -> Batch:
    """Rows as patterns: "t" is a text token, "i" a picture, "v" a video; for text models "v" is a vision token.

    With `alone`, that row as a batch of its own.
    """
    chosen = slice(None) if alone is None else slice(alone, alone + 1)
    if name in TEXT_ONLY:
        return _text(rows, side, seed, chosen)
    draw = numpy.random.default_rng(seed)
    texts = [_written(name, row, draw) for row in rows]
    sizes = cycle(draw.permutation(SIZES))
    pictures = [[_pixels(draw, *next(sizes)) for _ in range(row.count("i"))] for row in rows]
    videos = [[_pixels(draw, FRAMES.get(name, 4), 32, 48) for _ in range(row.count("v"))] for row in rows]
    inputs = _processed(name, texts[chosen], pictures[chosen], videos[chosen], side)
    vision = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    for number in _placeholders(model(name, "eager").config):
        vision |= inputs["input_ids"] == number
    return Batch(inputs, vision, {})


def _text(rows: list[str], side: str, seed: int, chosen: slice) -> Batch:
    torch.manual_seed(seed)
    length = max(map(len, rows))
    ids, present, vision = (torch.zeros(len(rows), length, dtype=torch.long) for _ in range(3))
    for i, row in enumerate(rows):
        place = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        ids[i, place] = torch.randint(len(BYTES), (len(row),))
        present[i, place] = 1
        vision[i, place] = torch.tensor([letter == "v" for letter in row]).long()
    there = present[chosen].any(0)  # a row alone has no padding
    ids, present, vision = (x[chosen][:, there] for x in (ids, present, vision))
    return Batch({"input_ids": ids, "attention_mask": present}, vision.bool(), {"vision_mask": vision.bool()})


def _written(name: str, row: str, draw: numpy.random.Generator) -> str:
    letters = [chr(number) for number in draw.integers(ord("a"), ord("z") + 1, len(row))]
    return "".join(letter if sign == "t" else words(name)[sign] for sign, letter in zip(row, letters, strict=True))


def _pixels(draw: numpy.random.Generator, *size: int) -> numpy.ndarray:
    return draw.integers(0, 256, (*size, 3), dtype=numpy.uint8)


def _processed(name: str, texts: list[str], pictures: list[list], videos: list[list], side: str) -> dict[str, Tensor]:
    given = {"text": texts, "padding": True, "padding_side": side, "return_tensors": "pt"}
    if any(pictures):
        given["images"] = _nested(name, pictures)
    if any(videos):
        films = [video for row in videos for video in row]
        given["videos"] = videos if name == "smolvlm" else films
        given["video_metadata"] = [
            {"fps": 2, "total_num_frames": len(film), "frames_indices": list(range(len(film)))} for film in films
        ]
    if name.startswith("paligemma") and not any(pictures):  # its processor refuses a prompt without a picture
        given.pop("text")
        return dict(processor(name).tokenizer(texts, return_token_type_ids=True, **given))
    with warnings.catch_warnings():  # numpy's, about an array that PaliGemma and InternVL make of a tensor
        warnings.filterwarnings("ignore", message="__array", category=DeprecationWarning)
        result = processor(name)(**given)
    return {key: value for key, value in result.items() if key not in ("labels", "video_metadata")}


def _nested(name: str, pictures: list[list]) -> list:
    if name in ("smolvlm", "gemma3", "paligemma", "paligemma2"):
        return pictures
    return [picture for row in pictures for picture in row] if name != "llava_onevision" else [p for p in pictures if p]


def greedy(model, data: Batch, steps: int) -> tuple[Tensor, Tensor]:
    """The tokens `generate` picks, [batch, steps], and the logits it picks them from, [batch, steps, vocabulary]."""
    result = model.generate(
        **data.inputs,
        max_new_tokens=steps,
        do_sample=False,
        suppress_tokens=_placeholders(model.config) or None,  # a picture nobody gave
        output_logits=True,
        return_dict_in_generate=True,
    )
    return result.sequences[:, data.vision.shape[1] :], torch.stack(result.logits, 1)


def _placeholders(config) -> list[int]:
    names = ("image_token_id", "video_token_id", "image_token_index", "video_token_index")
    return [number for name in names if (number := getattr(config, name, None)) is not None]
