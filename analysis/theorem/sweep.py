"""The table of `variation_impact` on many held-out questions: `python -m analysis.theorem.sweep --output <folder>`.

One file for each question, written whole or not at all: a sweep that was stopped goes on where it was. A folder holds
the sweep of one model; which one stands in `sweep.settings.json`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from analysis.confirmation import confirmatory_seed
from analysis.models.checkpoints.folders import DATA
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.models.loading import EMBEDDED, load
from analysis.residual_stream.measured_tokens import layers_at
from analysis.scenes.asked import prompts
from analysis.scenes.ground_truth import labels_for
from analysis.statistics.frames import checked
from analysis.statistics.token_tables import checked_table
from analysis.subjects import SUBJECTS, Subject
from analysis.theorem.variation_impact import variation_impact
from analysis.work_folders import check_writable, read_tables, record_tables
from v2drop.arguments import one_of, whole_number

NOTEBOOK = "03_variation_impact_theorem"
TAYLOR_TOKENS = 12
OUTPUTS = "hidden, logits, answer"  # what impacts are measured on; tables with fewer columns are not mixed in
RECORDED = DATA / "variation_impact"


def one_question(
    loaded: Loaded, number: int, n: int, layers: list[int] | None = None, subject: Subject = SUBJECTS["embedded"]
) -> pd.DataFrame:
    """The table of question `number` of a subject's first n ones.

    Its column sample is that number, kind the question's kind, label "object" or "background".
    """
    scene, question = subject.questions(n)[number]
    if layers is None and subject.depths is not None:
        layers = layers_at(loaded.n_layers, subject.depths)
    inputs = prompts(loaded, [(scene, question)])
    shown = labels_for(loaded, [(scene, question)]).label
    known = {
        "tokens": loaded.vision_mask(inputs),
        "answers": [loaded.answer_ids(question.text, question.answer)],
        "labels": [["background" if label == "background" else "object" for label in shown]],
        "candidates": subject.candidates(loaded),
        "output": "hidden" if subject.answers is None else "logits",
    }
    table = variation_impact(loaded.model, inputs, layers, **known, taylor_tokens=TAYLOR_TOKENS, seed=number)
    return table.assign(sample=number, kind=question.kind)


def run_sweep(loaded: Loaded, folder: Path, n: int, subject: Subject = SUBJECTS["embedded"]) -> None:
    """Write the tables of a subject's first n questions that are not in the folder yet.

    Raises:
        ValueError: The folder cannot be written to, or holds tables of another model or other settings.
    """
    check_loaded(loaded)
    check_writable("--output", folder)
    settings = {
        "weights": weights_digest(loaded.model),
        "question_seed": confirmatory_seed(subject.notebook),
        "taylor_tokens": TAYLOR_TOKENS,
        "outputs": OUTPUTS,
    }
    if subject.depths is not None:
        settings["layers"] = " ".join(map(str, layers_at(loaded.n_layers, subject.depths)))
    record_tables(folder, "sweep", settings, n, lambda number: one_question(loaded, number, n, subject=subject))


def weights_digest(model: nn.Module) -> str:
    """The SHA-256 of a model's weights, their names and types, in hexadecimal: the same wherever it was loaded from."""
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def load_recorded(folder: str | Path | None = None, subject: str = "embedded") -> pd.DataFrame:
    """All tables of a sweep in one frame: the columns of `variation_impact`, label among them, and kind.

    Args:
        folder: The folder that `python -m analysis.theorem.sweep` wrote to; None for the subject's under data/.
        subject: A key of `analysis.SUBJECTS`.

    Raises:
        ValueError: There is no such subject, or the folder holds no table.
    """
    return read_tables(recorded_folder(RECORDED, subject) if folder is None else folder, "analysis.theorem.sweep")


def recorded_folder(root: Path, subject: str) -> Path:
    """The folder of a subject's tables: that of the embedded model holds those of the others."""
    return root if one_of("subject", subject, SUBJECTS) == "embedded" else root / subject


def add_recorded_impact(table: pd.DataFrame, loaded: Loaded) -> pd.DataFrame:
    """Scores of the sweep's questions, with the recorded column predicted_impact (norm of the Jacobian x variation).

    NaN unless `loaded` is the embedded model, the only one with a recorded sweep.

    Args:
        table: The frame of `analysis.scored` for the sweep's questions or the first of them:
            `sample(60, "test", confirmatory_seed(NOTEBOOK))`.
        loaded: The model that the scores come from.

    Raises:
        ValueError: The scores are those of other questions, or of a model that was trained after the sweep.
    """
    check_loaded(loaded)
    if Path(loaded.name).resolve() != EMBEDDED:
        return checked(table, "table", {"sample": "label"}).assign(predicted_impact=np.nan)
    wanted = {"sample": "whole", "vision_index": "counted", "variation_l2": "number"}
    table = checked_table(table, wanted).drop(columns=["predicted_impact", "stored"], errors="ignore")
    tables, keys = load_recorded(), ["sample", "layer", "vision_index"]
    tables["vision_index"] = tables.groupby(["sample", "layer"]).cumcount()  # a token's position depends on the batch
    stored = tables[[*keys, "predicted_impact", "variation_l2"]].rename(columns={"variation_l2": "stored"})
    joined = table.merge(stored, on=keys, how="left", validate="one_to_one")
    if not np.allclose(joined.stored, joined.variation_l2, rtol=1e-3):
        raise ValueError(
            "the scores must be those of the recorded questions and model, whose variation_l2 they share; got others. "
            f'Score sample(60, "test", confirmatory_seed("{NOTEBOOK}")), or make the sweep again.'
        )
    return joined.drop(columns="stored")


def command(description: str, run: Callable[[Loaded, Path, int, Subject], None], questions: int) -> None:
    """Read the command line of a sweep and run it.

    Args:
        description: The first line of the help.
        run: The sweep: a function of the model, the folder, the number of questions and the subject.
        questions: The number of questions if none is given.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--questions", type=int, default=questions, help="held-out questions, every kind as often")
    parser.add_argument("--subject", choices=list(SUBJECTS), default="embedded", help="the model, and what it is asked")
    options = parser.parse_args()
    subject = SUBJECTS[options.subject]
    try:
        whole_number("--questions", options.questions, 1)
        # V2DROP_MODEL takes the place of the embedded model alone.
        run(load() if options.subject == "embedded" else subject.load(), options.output, options.questions, subject)
    except ValueError as error:
        parser.error(str(error))


def main() -> None:
    """Read the command line and sweep."""
    command(__doc__.splitlines()[0], run_sweep, questions=60)


if __name__ == "__main__":
    main()
