"""The accuracy of the embedded model, written into its folder: `python -m analysis.scenes.evaluate data/mosaic_llava`.

Writes `accuracy.csv` (right answers by kind of question: with the picture, without it, and by always giving the most
frequent answer) and `SHA256SUMS`.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import pandas as pd
import torch

from analysis.models.loaded_argument import check_loaded
from analysis.models.loading import Loaded, load
from analysis.progress import progress_bar
from analysis.scenes.answers import is_right
from analysis.scenes.mosaic import Questions, sample
from analysis.work_folders import check_writable, written_whole
from v2drop.arguments import whole_number

HELD_OUT_SEED = 2026  # of the held-out questions; training looked at test scenes of another seed, to log its progress


@torch.no_grad()
def first_words(loaded: Loaded, questions: Questions, masked: bool = False) -> list[str]:
    """The most likely next word after every question; `masked`: with attention to the image tokens masked out."""
    check_loaded(loaded)
    replies = []
    for start in progress_bar(range(0, len(questions), 50), desc="blind" if masked else "seeing"):
        batch = questions[start : start + 50]
        inputs = loaded.inputs([scene.image for scene, _ in batch], [question.text for _, question in batch])
        present = inputs["attention_mask"]
        positions = (present.cumsum(1) - 1).clamp(min=0)  # the question keeps its positions when the image is masked
        if masked:
            image = inputs["input_ids"] == loaded.model.config.image_token_id
            inputs["attention_mask"] = present.masked_fill(image, 0)
        logits = loaded.model(**inputs, position_ids=positions, logits_to_keep=1).logits[:, -1]
        replies += loaded.processor.batch_decode(logits.argmax(-1, keepdim=True))
    return replies


def evaluate(loaded: Loaded, n: int, seed: int = HELD_OUT_SEED) -> pd.DataFrame:
    """Shares of right answers on `n` held-out questions: kind ("all" in the last row), n, accuracy, blind, prior.

    Raises:
        ValueError: `n` is no int of 1 or more, or `seed` none of 0 or more; `loaded` is not what `load` gives.
    """
    check_loaded(loaded)
    questions = sample(whole_number("n", n, 1), "test", seed)
    frame = pd.DataFrame([(question.kind, question.answer) for _, question in questions], columns=["kind", "answer"])
    for name, masked in (("accuracy", False), ("blind", True)):
        replies = first_words(loaded, questions, masked)
        frame[name] = [is_right(reply, answer) for reply, answer in zip(replies, frame.answer, strict=True)]
    groups = frame.groupby("kind", sort=False)
    table = groups[["accuracy", "blind"]].mean()
    table.insert(0, "n", groups.size())
    table["prior"] = groups.answer.agg(lambda answers: answers.value_counts(normalize=True).iloc[0])
    total = (table.drop(columns="n").mul(table.n, axis=0).sum() / len(frame)).rename("all")
    return pd.concat([table, total.to_frame().T.assign(n=len(frame))]).rename_axis("kind").reset_index()


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, text: str) -> None:
    with written_whole(path) as draft:
        draft.write_text(text)


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", type=int, default=2000, help="held-out questions")
    args = parser.parse_args()
    try:
        whole_number("-n", args.n, 1)
        loaded = load(args.folder)  # before a folder that is not there is made
        check_writable("folder", args.folder)
    except ValueError as error:
        parser.error(str(error))
    table = evaluate(loaded, args.n)
    print(table.round(3).to_string(index=False))
    _write(args.folder / "accuracy.csv", table.round(4).to_csv(index=False))
    files = sorted(p for p in args.folder.iterdir() if p.suffix in (".safetensors", ".json", ".jinja"))
    _write(args.folder / "SHA256SUMS", "".join(f"{checksum(p)}  {p.name}\n" for p in files))


if __name__ == "__main__":
    main()
