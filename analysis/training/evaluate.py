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

HELD_OUT_SEED = 2026  # of the held-out questions; training looked at test scenes of another seed, to log its progress
COLUMNS = [*"n accuracy blind other prior".split()]


@torch.no_grad()
def first_words(
    loaded: Loaded, questions: Questions, masked: bool = False, method: Method | None = None, name: str = "seeing"
) -> list[str]:
    """The most likely next word after every question.

    Args:
        loaded: Model and processor.
        questions: The questions.
        masked: Whether attention to the image tokens is masked out.
        method: The method under which the model runs; None for none.
        name: The name of the progress bar.
    """
    check_loaded(loaded)
    replies = []
    for start in progress_bar(range(0, len(questions), 50), desc=name):
        batch = questions[start : start + 50]
        inputs = prompts(loaded, batch)
        present = inputs["attention_mask"]
        positions = (present.cumsum(1) - 1).clamp(min=0)  # the question keeps its positions when the image is masked
        if masked:
            image = inputs["input_ids"] == loaded.model.config.image_token_id
            inputs["attention_mask"] = present.masked_fill(image, 0)
        with loaded.dropping(method, inputs) if method else nullcontext():
            logits = loaded.model(**inputs, position_ids=positions, logits_to_keep=1).logits[:, -1]
        replies += loaded.processor.batch_decode(logits.argmax(-1, keepdim=True))
    return replies


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
    frame = _asked(questions)
    swapped = [
        (after[0], question) for (_, question), after in zip(questions, questions[1:] + questions[:1], strict=True)
    ]
    for name, shown, masked in (("accuracy", questions, False), ("blind", questions, True), ("other", swapped, False)):
        frame[name] = _right(first_words(loaded, shown, masked, name=f"{name} {side}"), frame)
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
    frame, rows = _asked(questions), {}
    for layer in range(loaded.n_layers + 1):
        method = Uniform(Schedule({layer: 0})) if layer < loaded.n_layers else None
        right = pd.Series(_right(first_words(loaded, questions, method=method, name=f"layer {layer}"), frame))
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
    args = parser.parse_args()
    try:
        whole_number("-n", args.n, 2)
        loaded = load(args.folder)  # before a folder that is not there is made
        check_writable("folder", args.folder)
    except ValueError as error:
        parser.error(str(error))
    tables = [evaluate(loaded, args.n, side=side).assign(side=side) for side in PICTURE_SIDES]
    table = pd.concat(tables)[["side", "kind", *COLUMNS]]
    depth = depth_curve(loaded, args.n)
    for name, frame in (("accuracy", table), ("depth", depth)):
        print(frame.round(3).to_string(index=False))
        with written_whole(args.folder / f"{name}.csv") as draft:
            frame.round(4).to_csv(draft, index=False)
    kinds = (".safetensors", ".json", ".jinja")
    write_checksums(args.folder, [path for path in args.folder.iterdir() if path.suffix in kinds])


if __name__ == "__main__":
    main()
