"""Prompts in a family's own chat format: rows of pictures, a video and a question, in one padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL.Image import Image
from transformers import BatchFeature

# Prompts of families whose checkpoints come without a chat template, as their model cards have them.
LLAVA_TURN = "USER: {visuals}\n{question} ASSISTANT:"
PROMPTS_WITHOUT_TEMPLATE = {
    "llava": LLAVA_TURN,
    "llava_next_video": LLAVA_TURN,
    "video_llava": LLAVA_TURN,
    "paligemma": "{visuals}{question}",  # its processor adds the rest
}
ALWAYS_A_PICTURE = ("paligemma",)  # its processor puts <bos> behind the pictures, and refuses prompts without one
PICTURES_OR_VIDEOS = ("smolvlm",)  # both are its pixel_values, so that one of them would be lost
EQUAL_VIDEOS = (  # one tensor of all videos, or (SmolVLM) one length for all in the prompt
    "llava_next_video",
    "llava_onevision",
    "video_llava",
    "internvl",
    "smolvlm",
)
FRAMES_PER_SECOND = 2.0  # for families that write the time of a frame into the prompt
DROPPED_KEYS = ("labels", "video_metadata")  # keys that some processors return and no model takes


def rows(pictures: Any, n: int) -> list[list]:
    """The pictures of each row as a list.

    Args:
        pictures: One entry for each row: a picture, a list of pictures, or None. None if no row has a picture.
        n: The number of rows.

    Raises:
        ValueError: The number of rows is another, or an entry is not a picture.
    """
    if pictures is not None and not isinstance(pictures, Sequence):
        raise ValueError(
            "images must be a list with one entry a question, as in inputs([picture], ['What is it?']); got one "
            f"{type(pictures).__name__}."
        )
    given = [None] * n if pictures is None else list(pictures)
    if len(given) != n:
        raise ValueError(f"images must have one entry a question, {n} of them; got {len(given)}.")
    listed = [list(row) if isinstance(row, (list, tuple)) else [] if row is None else [row] for row in given]
    for picture in (picture for row in listed for picture in row):
        _check_picture(picture)
    return listed


def _check_picture(picture: Any) -> None:
    if isinstance(picture, Image):
        valid, description = min(picture.size) > 0, f"one of size {picture.size}"
    elif isinstance(picture, np.ndarray):
        valid = picture.ndim == 3 and picture.shape[-1] == 3 and picture.dtype == np.uint8 and picture.size > 0
        description = f"{picture.dtype} {list(picture.shape)}"
    else:
        valid, description = False, type(picture).__name__
    if not valid:
        raise ValueError(f"a picture must be uint8 [height, width, 3] or a PIL image; got {description}.")


def frames(video: Any) -> np.ndarray:
    """A video as one uint8 array [frames, height, width, 3].

    Args:
        video: Such an array, or a list of pictures.

    Raises:
        ValueError: The video is neither, or its pictures have different sizes.
    """
    shots = [np.asarray(frame) for frame in video] if isinstance(video, (list, tuple)) else []
    if len({shot.shape for shot in shots}) > 1:
        raise ValueError(f"frames of a video must have one size; got {sorted({shot.shape for shot in shots})}.")
    array = np.stack(shots) if shots else np.asarray(video)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not len(array):
        raise ValueError(
            f"a video must be uint8 [frames, height, width, 3] or a list of such pictures; got {array.dtype} "
            f"{list(array.shape)}. Decode a file first, and take as many frames as the model is to see."
        )
    return array


def prompt(processor: Any, family: str, question: str, n_pictures: int = 1, n_videos: int = 0) -> str:
    """The text of one user turn, pictures and videos first, up to the place where the answer begins.

    Args:
        processor: The checkpoint's processor; its chat template is used, if it has one.
        family: The `model_type` of the configuration.
        question: The question.
        n_pictures: The number of pictures in the turn.
        n_videos: The number of videos in the turn.

    Raises:
        ValueError: The processor has no chat template and the family no known prompt.
    """
    if getattr(processor, "chat_template", None):
        visuals = [{"type": "image"}] * n_pictures + [{"type": "video"}] * n_videos
        turn = {"role": "user", "content": [*visuals, {"type": "text", "text": question}]}
        return processor.apply_chat_template([turn], add_generation_prompt=True)
    if family not in PROMPTS_WITHOUT_TEMPLATE:
        raise ValueError(
            f"this checkpoint of {family} has no chat template; give it one: loaded.processor.chat_template = "
            "'...' (its model card, or a sibling's chat_template.jinja, has it)."
        )
    visuals = processor.image_token * n_pictures + getattr(processor, "video_token", "") * n_videos
    written = PROMPTS_WITHOUT_TEMPLATE[family] if visuals else PROMPTS_WITHOUT_TEMPLATE[family].replace("\n", "")
    return written.format(visuals=visuals, question=question)


def batch(processor: Any, family: str, questions: list[str], pictures: list[list], videos: list) -> BatchFeature:
    """The model's inputs for a batch of prompts, padded on the tokenizer's side.

    Args:
        processor: The checkpoint's processor.
        family: The `model_type` of the configuration.
        questions: The question of each row.
        pictures: The list of pictures of each row, which may be empty.
        videos: The video of each row, or None.

    Raises:
        ValueError: The family does not take this mix.
    """
    clips = [[] if video is None else [frames(video)] for video in videos]
    _check_mix(processor, family, pictures, clips)
    counted = zip(questions, pictures, clips, strict=True)
    texts = [prompt(processor, family, question, len(row), len(clip)) for question, row, clip in counted]
    given: dict[str, Any] = {"text": texts, "padding": True, "return_tensors": "pt"}
    start = getattr(processor.tokenizer, "bos_token", None)
    if start and texts and all(text.startswith(start) for text in texts):
        given["add_special_tokens"] = False  # the chat template has written them already
    if any(pictures):
        given["images"] = pictures
    if any(clips):
        times = [_times(video) for clip in clips for video in clip]
        given |= {"videos": clips, "video_metadata": times, "do_sample_frames": False}
    inputs = processor(**given)
    return BatchFeature({key: value for key, value in inputs.items() if key not in DROPPED_KEYS})


def _times(video: np.ndarray) -> dict[str, Any]:
    n = len(video)
    return {
        "fps": FRAMES_PER_SECOND,
        "total_num_frames": n,
        "duration": n / FRAMES_PER_SECOND,
        "frames_indices": list(range(n)),
    }


def _check_mix(processor: Any, family: str, pictures: list[list], clips: list[list[np.ndarray]]) -> None:
    if any(clips) and not hasattr(processor, "video_processor"):
        raise ValueError(f"{family} takes no videos; give its frames as pictures of one row.")
    if family in ALWAYS_A_PICTURE and not all(pictures):
        raise ValueError(f"{family} wants at least one picture in every row; got {[len(row) for row in pictures]}.")
    if family in PICTURES_OR_VIDEOS and any(clips) and any(pictures):
        raise ValueError(f"{family} takes pictures or videos in one batch, not both; ask in two batches.")
    lengths = [len(video) for clip in clips for video in clip]
    if family in EQUAL_VIDEOS and len(set(lengths)) > 1:
        raise ValueError(f"{family} takes videos of one length in one batch; got {lengths} frames.")
