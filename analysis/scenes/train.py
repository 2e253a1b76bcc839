"""The recipe of the embedded model: `python -m analysis.scenes.train --output data/mosaic_llava`.

Stage 1 trains the vision tower alone to name digit, colour and place of every patch; stage 2 freezes it and trains
projector and decoder to answer questions. Many questions about a picture are packed into one sequence, in which each
sees the picture and itself only (a block mask), so that a picture is encoded once. Runs on a CPU or a GPU. A run that
was stopped is continued from the last checkpoint in `--work` by the same command. Every step draws new scenes.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.scenes import mosaic
from analysis.scenes.model import BOS, EOS, PAD, WIDTH, build, processor
from analysis.scenes.training_loop import Fit

TRAINING_SEED = 0
HELD_OUT = 128  # number of test scenes behind the accuracies in the log
SLOT = 5  # tokens of a packed question: four words (or three and a pad), and the answer
KINDS_PER_SCENE = ("what", "colour", "is-there", "where") * 4 + ("how-many",)
IMAGE_END = 1 + mosaic.GRID**2  # <s> and the vision tokens


def scenes_at(step: int, batch: int, split: str = "train") -> list[mosaic.Scene]:
    """The scenes of one step; no scene occurs twice in a training run."""
    return [mosaic.scene(split, TRAINING_SEED + 1, step * batch + i) for i in range(batch)]


def pixels(scenes: list[mosaic.Scene]) -> Tensor:
    """The pixel values that the processor makes of the pictures: float32 [batch, 3, 96, 96] in [-1, 1]."""
    return torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).float() / 127.5 - 1


class PatchReader(nn.Module):
    """Linear heads on a vision tower: digit, colour and place of every patch; from the class token, what is present.

    The class token has a task of its own, so that its attention tells methods that rank patches by it something.
    """

    def __init__(self, tower: nn.Module) -> None:
        """Add heads to a CLIP vision tower; they are not needed after training."""
        super().__init__()
        self.tower, self.norm = tower, nn.LayerNorm(WIDTH)
        self.digit, self.colour, self.place = nn.Linear(WIDTH, 11), nn.Linear(WIDTH, 9), nn.Linear(WIDTH, 2)
        self.present = nn.Linear(WIDTH, 18)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of digit and of colour and the place for every patch, and logits of what is present."""
        states = self.norm(self.tower(pixel_values=images).last_hidden_state)
        patches = states[:, 1:]
        return self.digit(patches), self.colour(patches), self.place(patches), self.present(states[:, 0])


def patch_labels(scenes: list[mosaic.Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """Digit (10: none) and colour (8: none) of every patch, int64 [batch, 144]; what is present, float [batch, 18]."""
    digit = torch.full((len(scenes), mosaic.GRID**2), 10)
    colour = torch.full_like(digit, len(mosaic.COLOURS))
    present = torch.zeros(len(scenes), 10 + len(mosaic.COLOURS))
    for i, drawn in ((i, d) for i, scene in enumerate(scenes) for d in scene.digits):
        hue = list(mosaic.COLOURS).index(drawn.colour)
        digit[i, list(drawn.patches)], colour[i, list(drawn.patches)] = drawn.digit, hue
        present[i, [drawn.digit, 10 + hue]] = 1
    return digit, colour, present


def tower_loss(reader: PatchReader, scenes: list[mosaic.Scene], device: str) -> tuple[Tensor, dict[str, float]]:
    """The loss of stage 1 (cross-entropies, squared error of the place), and accuracies by task."""
    digit, colour, present = (t.to(device) for t in patch_labels(scenes))
    digit_logits, colour_logits, place, present_logits = (x.float() for x in reader(pixels(scenes).to(device)))
    axis = torch.linspace(-1, 1, mosaic.GRID, device=device)
    loss = (
        _patch_loss(digit_logits, digit)
        + _patch_loss(colour_logits, colour)
        + F.mse_loss(place, torch.cartesian_prod(axis, axis).expand_as(place))
        + F.binary_cross_entropy_with_logits(present_logits, present)
    )
    filled = digit < 10
    right = {
        "digit": digit_logits.argmax(-1)[filled] == digit[filled],
        "colour": colour_logits.argmax(-1)[filled] == colour[filled],
        "empty": digit_logits.argmax(-1)[~filled] == 10,
        "present": (present_logits > 0) == present.bool(),
    }
    return loss, {name: hits.float().mean().item() for name, hits in right.items()}


def _patch_loss(logits: Tensor, labels: Tensor) -> Tensor:
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-1] = 0.1  # the last class is "empty", and nine patches in ten are
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), weight)


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
    Fit(reader, steps, 2e-3, folder, "tower").run(
        lambda step: tower_loss(reader, scenes_at(step, batch), device),
        lambda: tower_loss(reader, held_out, device)[1],
    )


def train_decoder(model: nn.Module, folder: Path, steps: int, batch: int, device: str) -> None:
    """Train projector and decoder in place (stage 2); the tower is frozen."""
    model.model.vision_tower.requires_grad_(False)
    ids = processor().tokenizer.convert_tokens_to_ids
    held_out = scenes_at(0, HELD_OUT, "test")
    Fit(model, steps, 1e-3, folder, "decoder").run(
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
    torch.manual_seed(TRAINING_SEED)
    model = build().to(args.device)
    train_tower(model, args.work, args.tower_steps, args.tower_batch, args.device)
    train_decoder(model, args.work, args.decoder_steps, args.decoder_batch, args.device)
    model.to("cpu").save_pretrained(args.output)
    processor().save_pretrained(args.output)
    for log in args.work.glob("*.jsonl"):
        shutil.copy(log, args.output)


if __name__ == "__main__":
    main()
