"""The table of `variation_impact` on many held-out questions: `python -m analysis.theorem.sweep --output <folder>`.

One file for each question, written whole or not at all: a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.models.loaded_argument import check_loaded
from analysis.models.loading import EMBEDDED, Loaded, load
from analysis.progress import progress_bar
from analysis.scenes.mosaic import sample
from analysis.theorem.variation_impact import variation_impact

QUESTION_SEED, TAYLOR_TOKENS = 0, 12
RECORDED = Path(__file__).resolve().parents[2] / "data" / "variation_impact"


def one_question(loaded: Loaded, number: int, n: int, layers: list[int] | None = None) -> pd.DataFrame:
    """The table of question `number` of n held-out ones; its column sample is that number, kind the question's kind."""
    scene, question = sample(n, split="test", seed=QUESTION_SEED)[number]
    inputs = loaded.inputs([scene.image], [question.text])
    table = variation_impact(loaded.model, inputs, layers, taylor_tokens=TAYLOR_TOKENS, seed=number)
    return table.assign(sample=number, kind=question.kind)


def run_sweep(loaded: Loaded, folder: Path, n: int) -> None:
    """Write the tables of n held-out questions that are not in the folder yet."""
    check_loaded(loaded)
    folder.mkdir(parents=True, exist_ok=True)
    for number in progress_bar(range(n), desc="questions", unit="question"):
        path = folder / f"question_{number:03}.csv.gz"
        if not path.exists():
            scratch = path.with_suffix(".part")
            zipped = {"method": "gzip", "mtime": 0}  # the same numbers make the same file
            one_question(loaded, number, n).to_csv(scratch, index=False, float_format="%.6g", compression=zipped)
            os.replace(scratch, path)


def load_recorded(folder: Path = RECORDED) -> pd.DataFrame:
    """All tables of a sweep in one frame: the columns of `variation_impact`, and kind.

    Raises:
        ValueError: The folder holds no table.
    """
    files = sorted(folder.glob("question_*.csv.gz"))
    if not files:
        raise ValueError(f"{str(folder)!r} must hold what analysis.theorem.sweep wrote; it holds no question_*.csv.gz.")
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True)


def add_recorded_impact(table: pd.DataFrame, loaded: Loaded) -> pd.DataFrame:
    """Scores of the sweep's questions, with the recorded column predicted_impact (norm of the Jacobian x variation).

    NaN unless `loaded` is the embedded model, the only one with a recorded sweep.

    Args:
        table: The frame of `analysis.scored` for `sample(60, split="test", seed=0)`, or for its first questions.
        loaded: The model that the scores come from.

    Raises:
        ValueError: The scores are those of other questions, or of a model that was trained after the sweep.
    """
    check_loaded(loaded)
    if Path(loaded.name).resolve() != EMBEDDED:
        return table.assign(predicted_impact=np.nan)
    tables, keys = load_recorded(), ["sample", "layer", "vision_index"]
    tables["vision_index"] = tables.groupby(["sample", "layer"]).cumcount()  # a token's position depends on the batch
    stored = tables[[*keys, "predicted_impact", "variation_l2"]].rename(columns={"variation_l2": "stored"})
    joined = table.merge(stored, on=keys, how="left", validate="one_to_one")
    if not np.allclose(joined.stored, joined.variation_l2, rtol=1e-3):
        raise ValueError(
            "the scores must be those of the recorded questions and model, whose variation_l2 they share; got others. "
            'Score sample(60, split="test", seed=0), or make the sweep again.'
        )
    return joined.drop(columns="stored")


def main() -> None:
    """Read the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--questions", type=int, default=60, help="held-out questions, every kind as often")
    options = parser.parse_args()
    run_sweep(load(), options.output, options.questions)


if __name__ == "__main__":
    main()
