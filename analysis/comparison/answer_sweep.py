"""Records the answers behind a notebook's verdicts: `python -m analysis.comparison.answer_sweep budgets`.

One file for every 20 questions, written whole or not at all: a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from analysis.comparison.answer_studies import STUDIES, answers
from analysis.comparison.arguments import tokens_of_every_prompt
from analysis.confirmation import confirmatory_seed
from analysis.models.loaded_argument import check_loaded
from analysis.models.loading import Loaded, load
from analysis.scenes.questions import Questions, sample
from analysis.scenes.sizes import with_enough_tokens
from analysis.theorem.sweep import weights_digest
from analysis.work_folders import check_writable, read_tables, record_tables
from v2drop.arguments import one_of, whole_number

CHUNK = 20  # questions in a file: every kind twice
RECORDED = Path(__file__).resolve().parents[2] / "data" / "answers"


def ask_again(loaded: Loaded, study: str, chunk: int = 0) -> pd.DataFrame:
    """The answers, asked now, to the questions 20 `chunk` to 20 `chunk` + 19 of a study: one file of the recorded ones.

    Args:
        loaded: Model and processor.
        study: A key of STUDIES.
        chunk: The number of the file.

    Returns:
        The columns of `analysis.accuracy`, and budget, layers.

    Raises:
        ValueError: There is no such study, or `chunk` is no int of 0 or more.
    """
    check_loaded(loaded)
    one_of("study", study, STUDIES)
    first = CHUNK * whole_number("chunk", chunk, 0)
    questions = sample(first + CHUNK, "test", confirmatory_seed(STUDIES[study].notebook))[first:]
    return _asked(loaded, study, questions, first)


def study_answers(loaded: Loaded, study: str, n: int = 20) -> pd.DataFrame:
    """The answers of a study: the recorded ones where they are this model's, else those to a few questions, asked now.

    Args:
        loaded: Model and processor.
        study: A key of STUDIES.
        n: The number of questions that another model is asked.

    Returns:
        As `load_answers`.

    Raises:
        ValueError: There is no such study, or `n` is no int of 1 or more.
    """
    check_loaded(loaded)
    settings = RECORDED / one_of("study", study, STUDIES) / f"{study}.settings.json"
    if settings.exists() and json.loads(settings.read_text())["weights"] == weights_digest(loaded.model):
        return load_answers(study)
    return _asked(loaded, study, sample(whole_number("n", n, 1), "test", confirmatory_seed(STUDIES[study].notebook)), 0)


def _asked(loaded: Loaded, study: str, questions: Questions, first: int) -> pd.DataFrame:
    questions = with_enough_tokens(loaded, questions)
    runs = STUDIES[study].runs(loaded, questions, tokens_of_every_prompt(loaded, questions))
    return answers(loaded, questions, runs, first)


def run_sweep(loaded: Loaded, study: str, folder: Path) -> None:
    """Write the tables of a study that are not in the folder yet.

    Raises:
        ValueError: There is no such study; the folder cannot be written to, or holds tables of another model.
    """
    check_loaded(loaded)
    check_writable("--output", folder)
    n_chunks = STUDIES[one_of("study", study, STUDIES)].n_questions // CHUNK
    settings = {"weights": weights_digest(loaded.model), "study": study}
    record_tables(folder, study, settings, n_chunks, lambda chunk: ask_again(loaded, study, chunk))


def load_answers(study: str, folder: Path | None = None) -> pd.DataFrame:
    """The recorded answers of a study: the columns of `analysis.accuracy`, and budget, layers.

    Args:
        study: A key of STUDIES.
        folder: The folder that the sweep wrote to; None for the one under data/.

    Raises:
        ValueError: There is no such study, or the folder holds no table.
    """
    one_of("study", study, STUDIES)
    found = read_tables(RECORDED / study if folder is None else folder, "analysis.comparison.answer_sweep")
    return found.fillna({"reply": ""}).astype({"layers": str})


def main() -> None:
    """Read the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--output", type=Path, help="folder of the tables; data/answers/<study> if none is given")
    options = parser.parse_args()
    try:
        run_sweep(load(), options.study, options.output or RECORDED / options.study)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
