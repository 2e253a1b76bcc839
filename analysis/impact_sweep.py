"""The table of `variation_impact` on many held-out questions: `python -m analysis.impact_sweep --output <folder>`.

One file a question, written at once and whole; stopped and called again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from analysis.impact import variation_impact
from analysis.loading import EMBEDDED, Loaded, load
from analysis.mosaic import sample

SEED, TAYLOR_TOKENS = 0, 12
RECORDED = Path(__file__).resolve().parents[1] / "data" / "variation_impact"


def measure(loaded: Loaded, number: int, n: int, layers: list[int] | None = None) -> pd.DataFrame:
    """The table of one of n held-out questions, with its kind; `sample` is its number."""
    scene, question = sample(n, split="test", seed=SEED)[number]
    inputs = loaded.inputs([scene.image], [question.text])
    table = variation_impact(loaded.model, inputs, layers, taylor_tokens=TAYLOR_TOKENS, seed=number)
    return table.assign(sample=number, kind=question.kind)


def sweep(loaded: Loaded, folder: Path, n: int) -> None:
    """Write what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(n), desc="questions", unit="question"):
        path = folder / f"question_{number:03}.csv.gz"
        if not path.exists():
            scratch = path.with_suffix(".part")
            zipped = {"method": "gzip", "mtime": 0}  # the same numbers make the same file
            measure(loaded, number, n).to_csv(scratch, index=False, float_format="%.6g", compression=zipped)
            os.replace(scratch, path)


def recorded(folder: Path = RECORDED) -> pd.DataFrame:
    """All tables of a sweep.

    Raises:
        ValueError: there are none.
    """
    files = sorted(folder.glob("question_*.csv.gz"))
    if not files:
        raise ValueError(f"{str(folder)!r} must hold what analysis.impact_sweep wrote; it holds no question_*.csv.gz.")
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True)


def with_recorded(table: pd.DataFrame, loaded: Loaded) -> pd.DataFrame:
    """Add the column predicted_impact, the variation with the Jacobian in it, to scores of the sweep's questions.

    All NaN for any model but the embedded one, whose sweep is the recorded one.

    Args:
        table: of `analysis.scores.scored` for `sample(60, split="test", seed=0)`, or the first of these.
        loaded: whose scores they are.

    Raises:
        ValueError: the scores are of other questions, or the model was trained again since.
    """
    if Path(loaded.name).resolve() != EMBEDDED:
        return table.assign(predicted_impact=np.nan)
    tables, keys = recorded(), ["sample", "layer", "rank"]
    tables["rank"] = tables.groupby(["sample", "layer"]).cumcount()  # a token's position depends on the batch
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
    given = parser.parse_args()
    sweep(load(), given.output, given.questions)


if __name__ == "__main__":
    main()
