"""The embedded model's accuracy, written into its folder: `python -m analysis.training.evaluate data/mosaic_llava`.

Writes `accuracy.csv` (right answers by picture size and kind of question: with the picture, without it, with another
one, and by always giving the most frequent answer), `depth.csv` (right answers by kind when all vision tokens are
removed at a layer) and `SHA256SUMS`.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from transformers import BatchFeature

from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.models.loading import load
from analysis.progress import progress_bar
from analysis.scenes.answers import is_right
from analysis.scenes.asked import prompts
from analysis.scenes.mosaic import PICTURE_SIDES, SIDE
from analysis.scenes.picture_size import at_side
from analysis.scenes.questions import Questions, sample
from analysis.work_folders import check_writable, write_checksums, written_whole
from v2drop import Method, Schedule, Uniform
from v2drop.arguments import whole_number
from v2drop.models.parts import is_vision, locate

HELD_OUT_SEED = 2026  # of the held-out questions; training looked at test scenes of another seed, to log its progress
COLUMNS = [*"n accuracy blind other prior".split()]
BATCH = 50  # questions


@torch.no_grad()
def greedy_replies(
    loaded: Loaded,
    questions: Questions,
    masked: bool = False,
    method: Method | None = None,
    name: str = "seeing",
    n_tokens: int = 1,
) -> list[str]:
    """The most likely words after every question, up to the end of the turn; every token from a prefill of its own.

    Args:
        loaded: Model and processor.
        questions: The questions.
        masked: Whether attention to the image tokens is masked out.
        method: The method under which the model runs; None for none.
        name: The name of the progress bar.
        n_tokens: The number of tokens.
    """
    check_loaded(loaded)
    replies, placeholders = [], locate(loaded.model).vision_ids
    for start in progress_bar(range(0, len(questions), BATCH), desc=name):
        inputs = prompts(loaded, questions[start : start + BATCH])
        present = inputs["attention_mask"]
        inputs["position_ids"] = (present.cumsum(1) - 1).clamp(min=0)  # a question keeps them where its image is masked
        if masked:
            inputs["attention_mask"] = present.masked_fill(loaded.vision_mask(inputs), 0)
        said = []
        for _ in range(n_tokens):
            with loaded.dropping(method, inputs) if method else nullcontext():
                logits = loaded.model(**inputs, logits_to_keep=1).logits[:, -1]
            likely = logits.argmax(-1, keepdim=True)
            # A placeholder of a picture is no word, and would have to come with a picture.
            said.append(likely.masked_fill(is_vision(likely, placeholders), loaded.processor.tokenizer.eos_token_id))
            _continue(inputs, said[-1])
        replies += [_up_to_end(loaded, ids) for ids in torch.cat(said, 1).tolist()]
    return replies


def _continue(inputs: BatchFeature, ids: Tensor) -> None:
    """Put the ids [batch, 1] behind the prompts, in place."""
    following = {"input_ids": ids, "attention_mask": ids * 0 + 1, "position_ids": inputs["position_ids"][:, -1:] + 1}
    for name, new in following.items():
        inputs[name] = torch.cat([inputs[name], new], 1)


def _up_to_end(loaded: Loaded, ids: list[int]) -> str:
    end = loaded.processor.tokenizer.eos_token_id
    return loaded.processor.decode(ids[: ids.index(end)] if end in ids else ids)


def answer_length(loaded: Loaded, questions: Questions) -> int:
    """The number of tokens of the longest answer."""
    answers = {question.answer: question.text for _, question in questions}
    return max(len(loaded.answer_ids(text, answer)) for answer, text in answers.items())


def evaluate(loaded: Loaded, n: int, seed: int = HELD_OUT_SEED, side: int = SIDE) -> pd.DataFrame:
    """Shares of right answers on `n` held-out questions: kind ("all" in the last row) and COLUMNS.

    blind: with attention to the image tokens masked out; other: with the picture of the next question in its place;
    prior: by always giving the most frequent answer of the kind. Pictures have `side` pixels, one of PICTURE_SIDES.

    Raises:
        ValueError: `n` is no int of 2 or more, or `seed` none of 0 or more; `loaded` is not what `load` gives; there
            are no pictures of this side, or the model can be set to none (`at_side`).
    """
    check_loaded(loaded)
    loaded, questions = at_side(loaded, side), sample(whole_number("n", n, 2), "test", seed, side=side)
    frame, length = _asked(questions), answer_length(loaded, questions)
    swapped = [
        (after[0], question) for (_, question), after in zip(questions, questions[1:] + questions[:1], strict=True)
    ]
    for name, shown, masked in (("accuracy", questions, False), ("blind", questions, True), ("other", swapped, False)):
        replies = greedy_replies(loaded, shown, masked, name=f"{name} {side}", n_tokens=length)
        frame[name] = _right(replies, frame)
    groups = frame.groupby("kind", sort=False)
    table = groups[["accuracy", "blind", "other"]].mean()
    table.insert(0, "n", groups.size())
    table["prior"] = groups.answer.agg(lambda answers: answers.value_counts(normalize=True).iloc[0])
    total = (table.drop(columns="n").mul(table.n, axis=0).sum() / len(frame)).rename("all")
    return pd.concat([table, total.to_frame().T.assign(n=len(frame))])[COLUMNS].rename_axis("kind").reset_index()


def depth_curve(loaded: Loaded, n: int, seed: int = HELD_OUT_SEED) -> pd.DataFrame:
    """Shares of right answers when all vision tokens are removed at the input of a layer; pictures of 96 pixels.

    Args:
        loaded: Model and processor.
        n: The number of held-out questions.
        seed: Their seed.

    Returns:
        One row per layer (the number of layers: nothing is removed), one column per kind of question, and "all".

    Raises:
        ValueError: As for `evaluate`.
    """
    check_loaded(loaded)
    questions = sample(whole_number("n", n, 2), "test", seed)
    frame, length, rows = _asked(questions), answer_length(loaded, questions), {}
    for layer in range(loaded.n_layers + 1):
        method = Uniform(Schedule({layer: 0})) if layer < loaded.n_layers else None
        replies = greedy_replies(loaded, questions, method=method, name=f"layer {layer}", n_tokens=length)
        right = pd.Series(_right(replies, frame))
        rows[layer] = {**right.groupby(frame.kind, sort=False).mean(), "all": right.mean()}
    return pd.DataFrame(rows).T.rename_axis("layer").reset_index()


def _asked(questions: Questions) -> pd.DataFrame:
    return pd.DataFrame([(question.kind, question.answer) for _, question in questions], columns=["kind", "answer"])


def _right(replies: list[str], frame: pd.DataFrame) -> list[bool]:
    return [is_right(reply, answer) for reply, answer in zip(replies, frame.answer, strict=True)]


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=2000, help="held-out questions of each picture size")
    parser.add_argument("--depth", type=int, default=2000, help="held-out questions of the curve over layers")
    args = parser.parse_args()
    try:
        whole_number("-n", args.n, 2)
        whole_number("--depth", args.depth, 2)
        loaded = load(args.folder)  # before a folder that is not there is made
        check_writable("folder", args.folder)
    except ValueError as error:
        parser.error(str(error))
    tables = [evaluate(loaded, args.n, side=side).assign(side=side) for side in PICTURE_SIDES]
    table = pd.concat(tables)[["side", "kind", *COLUMNS]]
    depth = depth_curve(loaded, args.depth)
    for name, frame in (("accuracy", table), ("depth", depth)):
        print(frame.round(3).to_string(index=False))
        with written_whole(args.folder / f"{name}.csv") as draft:
            frame.round(4).to_csv(draft, index=False)
    kinds = (".safetensors", ".json", ".jinja")
    write_checksums(args.folder, [path for path in args.folder.iterdir() if path.suffix in kinds])


if __name__ == "__main__":
    main()
