"""The recipe of the grafted model: `python -m analysis.training.graft --output data/mosaic_smollm2`.

The embedded model's tower and SmolLM2 are frozen. Stage 1, without the decoder: the projector learns to say each patch
in SmolLM2's words, near the embeddings of its digit, colour and place. Stage 2: projector and low-rank updates of the
decoder learn to look up one digit, many questions packed behind a picture; stage 3: every kind of question. Runs on a
CPU or a GPU; a run that was stopped is continued from the last checkpoint in `--work` by the same command.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from analysis.models.checkpoints import graft
from analysis.training.graft_stages import Graft, answer_loss, word_loss
from analysis.training.loop import Fit
from analysis.training.low_rank import ATTENTION, EVERYWHERE
from analysis.training.tower import held_out_scenes, scenes_at
from analysis.work_folders import check_writable, written_whole
from v2drop.arguments import whole_number

LOOKUPS = (*("what", "colour") * 5, *("is-there", "where") * 3)  # asked about every scene in stage 2
KINDS = (  # asked about every scene in stage 3; what takes two looks, or a count of one colour, twice
    *("what", "colour", "is-there", "how-many", "where", "how-many-of", "how-many-of", "next-to-colour"),
    *("next-to-colour", "next-to-digit", "next-to-digit", "largest", "twice"),
)
EVERY = 50  # steps between two checkpoints
HELD_OUT = 32  # number of test scenes behind the accuracies in the log


def train(args: argparse.Namespace) -> Graft:
    """The three stages, or those that have steps."""
    torch.manual_seed(args.seed)
    model = Graft(ATTENTION if args.attention_only else EVERYWHERE, args.device, args.word_norms)
    held_out, data = held_out_scenes(HELD_OUT), {"batch": args.batch, "seed": args.seed}
    if args.word_steps:
        Fit(model.trained["projector"], args.word_steps, 2e-3, args.work, "words", data).run(
            lambda step: word_loss(model, scenes_at(step, 4 * args.batch)), lambda: word_loss(model, held_out)[1]
        )
    data |= {"word_steps": args.word_steps, "attention_only": args.attention_only, "word_norms": args.word_norms}
    for name, steps, kinds in (("lookups", args.lookup_steps, LOOKUPS), ("answers", args.steps, KINDS)):
        if steps:
            Fit(model.trained, steps, 1e-3, args.work, name, data).run(
                lambda step, kinds=kinds: answer_loss(model, scenes_at(step, args.batch), step, kinds),
                lambda kinds=kinds: answer_loss(model, held_out, 2**31, kinds)[1],
                every=EVERY,
            )
        data |= {"lookup_steps": args.lookup_steps}
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
    parser.add_argument("--word-steps", type=int, default=600, help="of stage 1; 0: without it")
    parser.add_argument("--lookup-steps", type=int, default=300, help="of stage 2")
    parser.add_argument("--steps", type=int, default=3000, help="of stage 3")
    parser.add_argument("--batch", type=int, default=8, help="scenes a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attention-only", action="store_true", help="no low-rank updates of the MLPs")
    parser.add_argument("--word-norms", action="store_true", help="hold features to the norm of word embeddings")
    args = parser.parse_args()
    try:
        for name, least in (("word_steps", 0), ("lookup_steps", 0), ("steps", 0), ("batch", 1), ("seed", 0)):
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
