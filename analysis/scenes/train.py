"""The recipe of the embedded model: `python -m analysis.scenes.train --output data/mosaic_llava`.

Stage 1 trains the vision tower alone to name digit, colour and place of every patch; stage 2 freezes it and trains
projector and decoder to answer questions. Many questions about a picture are packed into one sequence, in which each
sees the picture and itself only (a block mask), so that a picture is encoded once. Runs on a CPU or a GPU. A run that
was stopped is continued from the last checkpoint in `--work` by the same command; other steps or batch sizes need
another folder. Every step draws new scenes.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.scenes import mosaic
from analysis.scenes.model import BOS, EOS, PAD, build, processor
from analysis.scenes.patch_reader import TRAINING_SEED, PatchReader, pixels, scenes_at, tower_loss
from analysis.scenes.training_loop import Fit
from analysis.work_folders import check_writable
from v2drop.arguments import whole_number

HELD_OUT = 128  # number of test scenes behind the accuracies in the log
SLOT = 5  # tokens of a packed question: four words (or three and a pad), and the answer
KINDS_PER_SCENE = ("what", "colour", "is-there", "where") * 4 + ("how-many",)
IMAGE_END = 1 + mosaic.GRID**2  # <s> and the vision tokens


def pack_questions(scenes: list[mosaic.Scene], step: int, ids: Callable) -> tuple[Tensor, Tensor]:
    """Packed questions: token ids and next-token labels (-100: none), int64 [batch, slots * SLOT]."""
    rng = np.random.default_rng([TRAINING_SEED, step])
    tokens, labels = [], []
    for s in scenes:
        row, row_labels = [], []
        for kind in KINDS_PER_SCENE:
            q = mosaic.question(s, kind, rng)
            words = ids(q.text.split())
            answer, pad = ids([q.answer, EOS]), SLOT - 1 - len(words)
            row += [*words, answer[0], *ids([PAD] * pad)]
            row_labels += [*[-100] * (len(words) - 1), *answer, *[-100] * pad]
        tokens.append(row)
        labels.append(row_labels)
    return torch.tensor(tokens), torch.tensor(labels)


def packing_mask(n_slots: int) -> tuple[Tensor, Tensor]:
    """Block mask, bool [1, 1, length, length], and position ids, int64 [1, length]: a slot sees image and itself."""
    slot = torch.cat([torch.zeros(IMAGE_END, dtype=torch.long), torch.arange(n_slots).repeat_interleave(SLOT) + 1])
    order = torch.arange(len(slot))
    mask = (order[:, None] >= order) & ((slot == 0) | (slot[:, None] == slot))
    positions = torch.cat([torch.arange(IMAGE_END), IMAGE_END + torch.arange(SLOT).repeat(n_slots)])
    return mask[None, None], positions[None]


def decoder_loss(
    model: nn.Module, scenes: list[mosaic.Scene], step: int, ids: Callable, device: str
) -> tuple[Tensor, dict[str, float]]:
    """The loss of stage 2 (cross-entropy of answer and end), and the share of right answers by kind of question."""
    tokens, labels = (t.to(device) for t in pack_questions(scenes, step, ids))
    mask, positions = (t.to(device) for t in packing_mask(len(KINDS_PER_SCENE)))
    embed = model.get_input_embeddings()
    with torch.no_grad():
        patches = model.model.vision_tower(pixel_values=pixels(scenes).to(device)).last_hidden_state[:, 1:]
    start = embed(torch.full((len(scenes), 1), ids([BOS])[0], device=device))
    inputs = torch.cat([start, model.model.multi_modal_projector(patches), embed(tokens)], 1)
    bias = torch.zeros(mask.shape, dtype=inputs.dtype, device=device).masked_fill(~mask, -torch.inf)
    states = model.model.language_model(inputs_embeds=inputs, attention_mask=bias, position_ids=positions)
    labelled = labels != -100
    logits = model.lm_head(states.last_hidden_state[:, IMAGE_END:][labelled]).float()
    right = (logits.argmax(-1) == labels[labelled])[::2].view(len(scenes), -1).float().mean(0)
    accuracy = {kind: right[[k == kind for k in KINDS_PER_SCENE]].mean().item() for kind in mosaic.QUESTION_KINDS}
    return F.cross_entropy(logits, labels[labelled]), accuracy


def train_tower(model: nn.Module, folder: Path, steps: int, batch: int, device: str) -> None:
    """Train the tower in place (stage 1)."""
    reader = PatchReader(model.model.vision_tower).to(device)
    held_out = scenes_at(0, HELD_OUT, "test")
    Fit(reader, steps, 2e-3, folder, "tower", {"batch": batch, "seed": TRAINING_SEED}).run(
        lambda step: tower_loss(reader, scenes_at(step, batch), device),
        lambda: tower_loss(reader, held_out, device)[1],
    )


def train_decoder(
    model: nn.Module, folder: Path, steps: int, batch: int, device: str, tower: Mapping[str, int]
) -> None:
    """Train projector and decoder in place (stage 2); the tower, whose settings are `tower`, is frozen."""
    model.model.vision_tower.requires_grad_(False)
    ids = processor().tokenizer.convert_tokens_to_ids
    held_out = scenes_at(0, HELD_OUT, "test")
    Fit(model, steps, 1e-3, folder, "decoder", {"batch": batch, "seed": TRAINING_SEED, **tower}).run(
        lambda step: decoder_loss(model, scenes_at(step, batch), step, ids, device),
        lambda: decoder_loss(model, held_out, 2**31, ids, device)[1],
    )


def main() -> None:
    """Train both stages and write model and processor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=Path("runs/mosaic"), help="checkpoints and logs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tower-steps", type=int, default=3000)
    parser.add_argument("--decoder-steps", type=int, default=2000)
    parser.add_argument("--tower-batch", type=int, default=32)
    parser.add_argument("--decoder-batch", type=int, default=16)
    args = parser.parse_args()
    try:
        _check(args)
        model = _trained(args)
    except ValueError as error:
        parser.error(str(error))
    model.to("cpu").save_pretrained(args.output)
    processor().save_pretrained(args.output)
    for stage in ("tower", "decoder"):
        shutil.copy(args.work / f"{stage}.jsonl", args.output)


def _check(args: argparse.Namespace) -> None:
    for name in ("tower_steps", "decoder_steps", "tower_batch", "decoder_batch"):
        whole_number(f"--{name.replace('_', '-')}", getattr(args, name), 1)
    for name in ("output", "work"):
        check_writable(f"--{name}", getattr(args, name))


def _trained(args: argparse.Namespace) -> nn.Module:
    torch.manual_seed(TRAINING_SEED)
    model = build().to(args.device)
    train_tower(model, args.work, args.tower_steps, args.tower_batch, args.device)
    tower = {"tower_steps": args.tower_steps, "tower_batch": args.tower_batch}
    train_decoder(model, args.work, args.decoder_steps, args.decoder_batch, args.device, tower)
    return model


if __name__ == "__main__":
    main()
