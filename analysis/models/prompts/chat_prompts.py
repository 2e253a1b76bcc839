"""Prompts in a family's own chat format: rows of pictures, a video and a question, in one padded batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL.Image import Image
from transformers import BatchFeature

from analysis.models.prompts.chat_templates import rendered
from analysis.models.prompts.pictures import frames

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
GUESSES_LAYOUT = ("video_llava",)  # its processor looks for the channels of PIL images too, and finds a height of 3
FRAMES_PER_SECOND = 2.0  # for families that write the time of a frame into the prompt
PLACEHOLDERS = ("image_token", "video_token", "boi_token")  # what processors call them
DROPPED_KEYS = ("labels", "video_metadata")  # keys that some processors return and no model takes


def prompt(processor: Any, family: str, question: str, n_pictures: int = 1, n_videos: int = 0) -> str:
    """The text of one user turn, pictures and videos first, up to the place where the answer begins.

    Args:
        processor: The checkpoint's processor; its chat template is used, if it has one.
        family: The `model_type` of the configuration.
        question: The question.
        n_pictures: The number of pictures in the turn.
        n_videos: The number of videos in the turn.

    Raises:
        ValueError: The question holds a placeholder of pictures or videos; the processor has no chat template and the
            family no known prompt; or its template fails, or leaves the question out.
    """
    _check_words(processor, question)
    if getattr(processor, "chat_template", None):
        visuals = [{"type": "image"}] * n_pictures + [{"type": "video"}] * n_videos
        turn = {"role": "user", "content": [*visuals, {"type": "text", "text": question}]}
        text = rendered(processor, turn)
        _check_asked(question, text)
        return text
    if family not in PROMPTS_WITHOUT_TEMPLATE:
        raise ValueError(
            f"this checkpoint of {family} has no chat template; give it one: loaded.processor.chat_template = "
            "'...' (its model card, or a sibling's chat_template.jinja, has it)."
        )
    visuals = processor.image_token * n_pictures + getattr(processor, "video_token", "") * n_videos
    written = PROMPTS_WITHOUT_TEMPLATE[family] if visuals else PROMPTS_WITHOUT_TEMPLATE[family].replace("\n", "")
    return written.format(visuals=visuals, question=question)


def _check_words(processor: Any, question: str) -> None:
    words = {getattr(processor, name, None) for name in PLACEHOLDERS}
    held = sorted(word for word in words if isinstance(word, str) and word in question)
    if held:
        raise ValueError(
            f"a question must not hold {', '.join(map(repr, held))}, where this checkpoint puts pictures or videos in "
            f"its prompts; got {question!r}. Give them as images= or videos=."
        )


def _check_asked(question: str, text: str) -> None:
    asked, written = ("".join(each.split()) for each in (question, text))  # templates trim
    if asked not in written:
        raise ValueError(
            "the chat template of this checkpoint leaves the question out (it may be one for text models); give it "
            f"another: loaded.processor.chat_template = '...'. Of {question!r} it makes {text!r}."
        )


def batch(processor: Any, family: str, questions: list[str], pictures: list[list[Image]], videos: list) -> BatchFeature:
    """The model's inputs for a batch of prompts, padded on the left.

    Args:
        processor: The checkpoint's processor.
        family: The `model_type` of the configuration.
        questions: The question of each row.
        pictures: The list of pictures of each row, which may be empty.
        videos: The video of each row, or None.

    Raises:
        ValueError: The family does not take this mix, the chat template fails, or the tokenizer ends prompts.
    """
    clips = [[] if video is None else [frames(video)] for video in videos]
    _check_mix(processor, family, pictures, clips)
    counted = zip(questions, pictures, clips, strict=True)
    texts = [prompt(processor, family, question, len(row), len(clip)) for question, row, clip in counted]
    given: dict[str, Any] = {"text": texts, "padding": True, "padding_side": "left", "return_tensors": "pt"}
    start = getattr(processor.tokenizer, "bos_token", None)
    if start and texts and all(text.startswith(start) for text in texts):
        given["add_special_tokens"] = False  # the chat template has written them already
    if any(pictures):
        given["images"] = pictures
        if family in GUESSES_LAYOUT:
            given["images_kwargs"] = {"input_data_format": "channels_last"}
    if any(clips):
        times = [_times(video) for clip in clips for video in clip]
        given |= {"videos": clips, "video_metadata": times, "do_sample_frames": False}
    inputs = processor(**given)
    _check_open(processor.tokenizer, inputs["input_ids"][:, -1].tolist(), texts)
    return BatchFeature({key: value for key, value in inputs.items() if key not in DROPPED_KEYS})


def _check_open(tokenizer: Any, last: list[int], texts: list[str]) -> None:
    """Refuse prompts that the tokenizer has ended: what follows them is no answer."""
    end = tokenizer.eos_token
    if end and any(
        token == tokenizer.eos_token_id and not text.rstrip().endswith(end)
        for token, text in zip(last, texts, strict=True)
    ):
        raise ValueError(
            f"the tokenizer of this checkpoint appends its end token {end!r} to every text, behind which no answer "
            "follows; set loaded.processor.tokenizer.add_eos_token = False, or save it without."
        )


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
