"""Records the answers behind a notebook's verdicts: `python -m analysis.answers.sweep budgets`.

One file for every 20 questions, written whole or not at all: a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.answers.answer_studies import STUDIES, answers
from analysis.comparison.answer_keys import OTHER_DRAWS, Runs
from analysis.comparison.arguments import tokens_of_every_prompt
from analysis.confirmation import confirmatory_seed
from analysis.models.checkpoints.folders import DATA
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded, check_text_model
from analysis.models.loading import load
from analysis.scenes.mosaic import SIDE
from analysis.scenes.picture_size import at_side
from analysis.scenes.questions import Questions, sample
from analysis.scenes.sizes import with_enough_tokens
from analysis.subjects import SUBJECTS
from analysis.theorem.sweep import weights_digest
from analysis.work_folders import check_writable, read_tables, record_tables
from v2drop.arguments import one_of, whole_number
from v2drop.methods.from_file import added_methods

CHUNK = 20  # questions in a file: of pictures, every kind twice
COMMAND = "analysis.answers.sweep"
RECORDED = DATA / "answers"


def ask_again(loaded: Loaded, study: str, chunk: int = 0, n: int | None = None) -> pd.DataFrame:
    """The answers, asked now, to the questions of a study from 20 `chunk` on: all or some of a file of recorded ones.

    Args:
        loaded: Model and processor.
        study: A key of STUDIES.
        chunk: The number of the file.
        n: The number of questions, 1 to 20; None for all 20.

    Returns:
        The columns of `analysis.accuracy`, and budget, layers.

    Raises:
        ValueError: There is no such study, `chunk` is no int of 0 or more, or `n` none from 1 to 20.
    """
    check_loaded(loaded)
    one_of("study", study, STUDIES)
    first = CHUNK * whole_number("chunk", chunk, 0)
    last = first + (CHUNK if n is None else whole_number("n", n, 1, CHUNK))
    return _asked(loaded, study, _questions(study, last)[first:], first)


def study_answers(loaded: Loaded, study: str, n: int = 20) -> pd.DataFrame:
    """The answers of a study: the recorded ones where they are this model's, else those to a few questions, asked now.

    Methods that were added (`add_methods`) are asked now wherever the study has them, all the questions.

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
        return _with_added(loaded, study, load_answers(study))
    return _asked(loaded, study, _questions(study, whole_number("n", n, 1)), 0)


def _with_added(loaded: Loaded, study: str, recorded: pd.DataFrame) -> pd.DataFrame:
    questions = _questions(study, STUDIES[study].n_questions)
    prepared, asked, runs = _prepared(loaded, study, questions) if added_methods() else (loaded, questions, {})
    added = {key: method for key, method in runs.items() if key.method in added_methods()}
    if not added:
        return recorded
    return pd.concat([recorded, answers(prepared, asked, added, STUDIES[study])], ignore_index=True)


def _questions(study: str, n: int) -> Questions:
    seed = confirmatory_seed(STUDIES[study].notebook)
    if STUDIES[study].subject != "embedded":  # whose pictures have several sizes
        return SUBJECTS[STUDIES[study].subject].sample(n, seed)
    return sample(n, "test", seed, side=STUDIES[study].side)


def _prepared(loaded: Loaded, study: str, questions: Questions) -> tuple[Loaded, Questions, Runs]:
    """The model for a study's pictures (as it is for those of the usual size), the questions, and what is run."""
    if STUDIES[study].subject == "smollm2":
        check_text_model(loaded)
        loaded = replace(loaded, drops_start=STUDIES[study].drops_start)
        return loaded, questions, STUDIES[study].runs(loaded, questions, None)
    if STUDIES[study].side != SIDE:
        loaded = at_side(loaded, STUDIES[study].side)
    questions = with_enough_tokens(loaded, questions)
    return loaded, questions, STUDIES[study].runs(loaded, questions, tokens_of_every_prompt(loaded, questions))


def _asked(loaded: Loaded, study: str, questions: Questions, first: int) -> pd.DataFrame:
    return answers(*_prepared(loaded, study, questions), STUDIES[study], first)


def _settings(loaded: Loaded, study: str) -> dict[str, str | int]:
    """Everything that the tables depend on but the machine."""
    _, _, runs = _prepared(loaded, study, _questions(study, 1))
    return {
        "weights": weights_digest(loaded.model),
        "study": study,
        "question_seed": confirmatory_seed(STUDIES[study].notebook),
        "side": STUDIES[study].side,
        "draws": f"{STUDIES[study].random_draws} {OTHER_DRAWS}",
        "runs": hashlib.sha256(repr([tuple(key) for key in runs]).encode()).hexdigest()[:16],
    }


def run_sweep(loaded: Loaded, study: str, folder: Path) -> None:
    """Write the tables of a study that are not in the folder yet.

    Raises:
        ValueError: There is no such study; the folder cannot be written to, or holds tables of another model.
    """
    check_loaded(loaded)
    check_writable("--output", folder)
    n_chunks = STUDIES[one_of("study", study, STUDIES)].n_questions // CHUNK
    record_tables(folder, study, _settings(loaded, study), n_chunks, lambda chunk: ask_again(loaded, study, chunk))


def load_answers(study: str, folder: Path | None = None) -> pd.DataFrame:
    """The recorded answers of a study: the columns of `analysis.accuracy`, and budget, layers.

    Args:
        study: A key of STUDIES.
        folder: The folder that the sweep wrote to; None for the one under data/.

    Raises:
        ValueError: There is no such study, or the folder does not hold the answers to all of its questions.
    """
    one_of("study", study, STUDIES)
    found = read_tables(RECORDED / study if folder is None else folder, COMMAND)
    asked, wanted = found.question.nunique(), STUDIES[study].n_questions
    if asked != wanted:
        raise ValueError(f"{study!r} must hold {wanted} questions; got {asked}. `python -m {COMMAND} {study}` goes on.")
    return found.fillna({"reply": ""}).astype({"layers": str})


def main() -> None:
    """Read the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--output", type=Path, help="folder of the tables; data/answers/<study> if none is given")
    options = parser.parse_args()
    try:
        subject = STUDIES[options.study].subject  # V2DROP_MODEL takes the place of the embedded model alone
        loaded = load() if subject == "embedded" else SUBJECTS[subject].load()
        run_sweep(loaded, options.study, options.output or RECORDED / options.study)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
