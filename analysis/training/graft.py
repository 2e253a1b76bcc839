"""The recipe of the grafted model: `python -m analysis.training.graft --output data/mosaic_smollm2`.

The embedded model's tower and SmolLM2 are frozen. Stage 1, without the decoder: the projector learns to say each patch
in SmolLM2's words, near the embeddings of its digit, colour and place. Stage 2: projector and low-rank updates of the
decoder learn to answer, many questions packed behind a picture. Runs on a CPU or a GPU; a run that was stopped is
continued from the last checkpoint in `--work` by the same command.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from analysis.models.checkpoints import graft
from analysis.scenes.drawing import COLOURS
from analysis.scenes.mosaic import Scene
from analysis.training.chat_packing import BEFORE, ChatWords, chat_slots
from analysis.training.loop import Fit
from analysis.training.low_rank import ATTENTION, EVERYWHERE, add_low_rank
from analysis.training.packing import packing_mask
from analysis.training.tower import held_out_scenes, patch_labels, pixels, scenes_at
from analysis.work_folders import check_writable, written_whole
from v2drop.arguments import whole_number

KINDS = (  # asked about every scene; what takes two looks, or a count of one colour, twice
    *("what", "colour", "is-there", "how-many", "where", "how-many-of", "how-many-of", "next-to-colour"),
    *("next-to-colour", "next-to-digit", "next-to-digit", "largest", "twice"),
)
WEIGHTS = {"how-many": 2.0, "twice": 2.0}  # of questions that are the same about every scene, and can stand there once
EVERY = 50  # steps between two checkpoints
HELD_OUT = 32  # number of test scenes behind the accuracies in the log
BACKGROUND = 0.2  # weight of a patch without a digit in stage 1
SIDES = (("top", "bottom"), ("left", "right"))
PLACE = 0.7  # size of the words for a place beside those for digit and colour


class Graft(nn.Module):
    """The model under training; `trained` holds all that is learnt, and is all that a checkpoint needs.

    Args:
        names: The names of the decoder's linear maps that get a low-rank part.
        device: Where it runs.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        """Freeze everything but the projector and the low-rank parts."""
        super().__init__()
        inner = graft.untrained().requires_grad_(False).model
        self.tower, self.projector = inner.vision_tower.to(device), inner.multi_modal_projector.to(device)
        # In 16 bits where the hardware has them: many CPUs take longer over them than over 32.
        self.decoder = inner.language_model.to(device, torch.float32 if device == "cpu" else torch.bfloat16)
        self.updates = add_low_rank(self.decoder, names)
        self.projector.requires_grad_(True)
        parts = [p for each in self.updates.values() for p in (each.to(device).down, each.up)]
        self.trained = nn.ModuleDict({"projector": self.projector, "updates": nn.ParameterList(parts)})
        self.words, self.device = ChatWords(graft.tokenizer()), device

    def features(self, scenes: Sequence[Scene]) -> Tensor:
        """The projected features of the scenes' patches, float32 [batch, patches, dim]."""
        with torch.no_grad():
            seen = self.tower(
                pixel_values=pixels(scenes).to(self.device), interpolate_pos_encoding=True
            ).last_hidden_state
        return self.projector(seen[:, 1:])

    def embedded(self, text: str) -> Tensor:
        """The mean embedding of a text's tokens, float32 [dim]."""
        ids = torch.tensor(self.words.ids(text), device=self.device)
        return self.decoder.embed_tokens(ids).float().mean(0)


def word_loss(model: Graft, scenes: Sequence[Scene]) -> tuple[Tensor, dict]:
    """The loss of stage 1: how far projected patches are from the words for what they show."""
    digit, colour, _ = (t.to(model.device) for t in patch_labels(scenes))
    blank = torch.zeros_like(model.embedded("a"))
    digits = torch.stack([*(model.embedded(str(d)) for d in range(10)), blank])
    colours = torch.stack([*(model.embedded(f" {name}") for name in COLOURS), blank])
    grid = torch.arange(scenes[0].grid, device=model.device) * 2 < scenes[0].grid
    rows, columns = (torch.where(grid[:, None], model.embedded(f" {a}"), model.embedded(f" {b}")) for a, b in SIDES)
    places = (rows[:, None] + columns[None]).flatten(0, 1)
    wanted = digits[digit] + colours[colour] + PLACE * places
    error = (model.features(scenes) - wanted).square().mean(-1)
    filled = digit < 10
    loss = (error * torch.where(filled, 1.0, BACKGROUND)).sum() / torch.where(filled, 1.0, BACKGROUND).sum()
    share = 1 - error[filled].mean() / wanted[filled].var(0).mean()
    return 1000 * loss, {"explained": share.item()}


def answer_loss(model: Graft, scenes: Sequence[Scene], step: int) -> tuple[Tensor, dict]:
    """The loss of stage 2, on answers and their ends, and the share of right answers by kind."""
    tokens, labels, slots = chat_slots(scenes, step, model.words, KINDS)
    states = _states(model, scenes, tokens.to(model.device), slots)[:, -tokens.shape[1] :]
    labels = labels.to(model.device)
    labelled = labels != -100
    logits = F.linear(states[labelled], model.decoder.embed_tokens.weight).float()
    weights = torch.tensor([WEIGHTS.get(kind, 1.0) for kind in KINDS], device=model.device)
    weight = weights.repeat_interleave(torch.tensor(slots, device=model.device)).expand_as(labels)[labelled]
    losses = F.cross_entropy(logits, labels[labelled], reduction="none")
    hit = torch.ones_like(labelled)
    hit[labelled] = logits.argmax(-1) == labels[labelled]
    right = torch.stack([slot.all(1) for slot in hit.split(slots, 1)], 1).float().mean(0)
    shares = {kind: right[[k == kind for k in KINDS]].mean().item() for kind in dict.fromkeys(KINDS)}
    return (losses * weight).sum() / weight.sum(), shares


def _states(model: Graft, scenes: Sequence[Scene], tokens: Tensor, slots: tuple[int, ...]) -> Tensor:
    """The normed states behind the decoder, [batch, length, dim]."""
    embed = model.decoder.embed_tokens
    before = embed(torch.tensor(model.words.ids(BEFORE), device=model.device)).expand(len(scenes), -1, -1)
    inputs = torch.cat([before, model.features(scenes).to(before.dtype), embed(tokens)], 1)
    mask, positions = (t.to(model.device) for t in packing_mask(inputs.shape[1] - tokens.shape[1], slots))
    bias = torch.zeros(mask.shape, dtype=inputs.dtype, device=model.device).masked_fill(~mask, -torch.inf)
    return model.decoder(
        inputs_embeds=inputs, attention_mask=bias, position_ids=positions, use_cache=False
    ).last_hidden_state


def train(args: argparse.Namespace) -> Graft:
    """Both stages."""
    torch.manual_seed(args.seed)
    model = Graft(ATTENTION if args.attention_only else EVERYWHERE, args.device)
    held_out, data = held_out_scenes(HELD_OUT), {"batch": args.batch, "seed": args.seed}
    if args.word_steps:
        Fit(model.trained["projector"], args.word_steps, 2e-3, args.work, "words", data).run(
            lambda step: word_loss(model, scenes_at(step, 4 * args.batch)), lambda: word_loss(model, held_out)[1]
        )
    data |= {"word_steps": args.word_steps, "attention_only": args.attention_only}
    Fit(model.trained, args.steps, 1e-3, args.work, "answers", data).run(
        lambda step: answer_loss(model, scenes_at(step, args.batch), step),
        lambda: answer_loss(model, held_out, 2**31)[1],
        every=EVERY,
    )
    return model


def write(model: Graft, folder: Path) -> None:
    """Write what was learnt, in bfloat16, by the names that `graft.merge` takes."""
    learnt = {f"model.multi_modal_projector.{k}": v for k, v in model.projector.state_dict().items()}
    for path, each in model.updates.items():
        name = f"model.language_model.{path}.weight"
        learnt |= {f"{name}.down": each.down, f"{name}.up": each.up}
    with written_whole(folder / graft.TRAINED) as draft:
        save_file({k: v.detach().cpu().to(torch.bfloat16).contiguous() for k, v in learnt.items()}, draft)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of what was learnt")
    parser.add_argument("--work", type=Path, default=Path("runs/graft"), help="checkpoints and logs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--word-steps", type=int, default=300, help="0: without stage 1")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8, help="scenes a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attention-only", action="store_true", help="no low-rank updates of the MLPs")
    args = parser.parse_args()
    try:
        for name, least in (("word_steps", 0), ("steps", 1), ("batch", 1), ("seed", 0)):
            whole_number(f"--{name.replace('_', '-')}", getattr(args, name), least)
        for name in ("output", "work"):
            check_writable(f"--{name}", getattr(args, name))
        model = train(args)
    except ValueError as error:
        parser.error(str(error))
    write(model, args.output)
    for log in args.work.glob("*.jsonl"):
        shutil.copy(log, args.output)


if __name__ == "__main__":
    main()
