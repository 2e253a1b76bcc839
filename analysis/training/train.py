"""The recipe of the embedded model: `python -m analysis.training.train --output data/mosaic_llava`.

Stage 1 trains the vision tower alone to name digit, colour and place of every patch; stage 2 freezes it and trains
projector and decoder to answer questions, on features of an earlier layer of the tower, as LLaVA does; stage 3 trains
all of it, on the losses of both. Many questions about a picture are packed into one sequence, so that a picture is
encoded once. Runs on a CPU or a GPU. A run that was stopped is continued from the last checkpoint in `--work` by the
same command; other steps or batch sizes need another folder. Every step of a stage draws new scenes.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from analysis.training.decoder import Answerer, decoder_loss
from analysis.training.loop import Fit
from analysis.training.model import build, processor
from analysis.training.packing import ALL, ONE_LOOK
from analysis.training.together import WEAK_MORE_OFTEN, WholeModel, whole_loss
from analysis.training.tower import TRAINING_SEED, PatchReader, held_out_scenes, scenes_at, tower_loss
from analysis.work_folders import check_writable
from v2drop.arguments import whole_number

FIRST = 0.15  # share of the steps of stage 2 that ask what one look answers; two looks are learnt on that sooner
HELD_OUT = 96  # number of test scenes behind the accuracies in the log


def train_tower(model: nn.Module, folder: Path, steps: int, batch: int, device: str) -> PatchReader:
    """Train the tower in place (stage 1); return it with its heads."""
    reader = PatchReader(model.model.vision_tower).to(device)
    held_out = held_out_scenes(HELD_OUT)
    Fit(reader, steps, 2e-3, folder, "tower", {"batch": batch, "seed": TRAINING_SEED}).run(
        lambda step: tower_loss(reader, scenes_at(step, batch), device),
        lambda: tower_loss(reader, held_out, device)[1],
    )
    return reader


def train_decoder(
    model: nn.Module, folder: Path, steps: int, batch: int, device: str, before: Mapping[str, int]
) -> Answerer:
    """Train projector and decoder in place (stage 2), the tower frozen; return the model with its heads.

    `before`, here and below, are the settings of the stages before.
    """
    answerer = Answerer(model).to(device)
    ids = processor().tokenizer.convert_tokens_to_ids
    held_out = held_out_scenes(HELD_OUT)
    Fit(answerer, steps, 1e-3, folder, "decoder", {"batch": batch, "seed": TRAINING_SEED, **before}).run(
        lambda step: decoder_loss(
            answerer, scenes_at(step, batch), step, ids, device, ONE_LOOK if step < FIRST * steps else ALL
        ),
        lambda: decoder_loss(answerer, held_out, 2**31, ids, device, ALL)[1],
    )
    return answerer


def train_whole(
    whole: WholeModel, folder: Path, steps: int, batch: int, device: str, before: Mapping[str, int]
) -> None:
    """Train all of the model in place (stage 3), on scenes that stage 2 has not shown."""
    ids, first = processor().tokenizer.convert_tokens_to_ids, before["decoder_steps"]
    held_out = held_out_scenes(HELD_OUT)
    Fit(whole, steps, 5e-4, folder, "whole", {"batch": batch, "seed": TRAINING_SEED, **before}).run(
        lambda step: whole_loss(whole, scenes_at(first + step, batch), first + step, ids, device, WEAK_MORE_OFTEN),
        lambda: whole_loss(whole, held_out, 2**31, ids, device, ALL)[1],
    )


def main() -> None:
    """Train all stages and write model and processor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=Path("runs/mosaic"), help="checkpoints and logs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tower-steps", type=int, default=3000)
    parser.add_argument("--decoder-steps", type=int, default=7000)
    parser.add_argument("--whole-steps", type=int, default=4000)
    parser.add_argument("--tower-batch", type=int, default=32)
    parser.add_argument("--decoder-batch", type=int, default=12, help="of stage 3, too")
    args = parser.parse_args()
    try:
        _check(args)
        model = _trained(args)
    except ValueError as error:
        parser.error(str(error))
    model.to("cpu").save_pretrained(args.output)
    processor().save_pretrained(args.output)
    for stage in ("tower", "decoder", "whole"):
        shutil.copy(args.work / f"{stage}.jsonl", args.output)


def _check(args: argparse.Namespace) -> None:
    for name in ("tower_steps", "decoder_steps", "whole_steps", "tower_batch", "decoder_batch"):
        whole_number(f"--{name.replace('_', '-')}", getattr(args, name), 1)
    for name in ("output", "work"):
        check_writable(f"--{name}", getattr(args, name))


def _trained(args: argparse.Namespace) -> nn.Module:
    torch.manual_seed(TRAINING_SEED)
    model = build().to(args.device)
    reader = train_tower(model, args.work, args.tower_steps, args.tower_batch, args.device)
    before = {"tower_steps": args.tower_steps, "tower_batch": args.tower_batch}
    answerer = train_decoder(model, args.work, args.decoder_steps, args.decoder_batch, args.device, before)
    before["decoder_steps"] = args.decoder_steps
    train_whole(WholeModel(reader, answerer), args.work, args.whole_steps, args.decoder_batch, args.device, before)
    return model


if __name__ == "__main__":
    main()
