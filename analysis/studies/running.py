"""Running the cells of a study that are missing, here or where an executor takes them."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, as_completed
from contextlib import closing
from typing import Any, NamedTuple

import pandas as pd

from analysis.progress import progress_bar
from analysis.studies.cells.identity import Identity
from analysis.studies.cells.provenance import provenance
from analysis.studies.cells.rows import check_rows
from analysis.studies.cells.store import Record, Store
from analysis.studies.cells.study import Study
from analysis.studies.reading import identities, read
from analysis.work_folders import check_writable
from v2drop.methods.from_file import add_methods, added_files

SHOWN = 5  # failures that a summary names


class Outcome(NamedTuple):
    """What came of a cell.

    Attributes:
        identity: The cell.
        error: Its type and message; "" if it finished.
    """

    identity: Identity
    error: str


def run(study: Study, store: str | os.PathLike | Store, executor: Executor | None = None) -> pd.DataFrame:
    """Run the cells of a study that are not in the store, and read all of them.

    A cell is in the store if it was made by the same code, model, arguments and versions (`Identity`). One that fails
    is written with its error and does not stop the others; the next run tries it again. Whatever stops a run, the next
    one goes on behind the last finished cell.

    Args:
        study: The study.
        store: The folder of its cells; workers on other machines must see it under the same path, as any file of
            methods (`add_methods`).
        executor: Where cells run: any executor of Python's `concurrent.futures`, or `client.get_executor(pure=False)`
            of dask.distributed (`analysis.studies.executors`). None for here, one after the other. Each process loads a
            model once.

    Returns:
        The rows of all finished cells, in the order of the cells, arguments as columns in front (`with_arguments`). A
        warning tells of those that failed.

    Raises:
        ValueError: The store cannot be written to, a cell's model is not there, or no cell finished.
    """
    store = store if isinstance(store, Store) else Store(store)
    failed = run_missing(study, store, executor)
    if failed:
        warnings.warn(summary(study, failed), stacklevel=2)
    return read(study, store)


def run_missing(study: Study, store: Store, executor: Executor | None = None) -> list[Outcome]:
    """Run the cells of a study that are not in the store; those that failed. Arguments as for `run`.

    Raises:
        ValueError: The store cannot be written to, or a cell's model is not there.
    """
    check_writable("store", store.folder)
    store.clear_drafts()
    missing = [each for each in identities(study) if (known := store.read(each.key)) is None or known.error]
    done, failed = len(study.cells) - len(missing), []
    outcomes = _here(study, missing, store) if executor is None else _elsewhere(study, missing, store, executor)
    with (
        closing(outcomes),
        progress_bar(total=len(study.cells), initial=done, desc=study.name, unit="cell") as progress,
    ):
        for outcome in outcomes:
            failed += [outcome] if outcome.error else []
            progress.set_postfix(failed=len(failed), refresh=False)
            progress.update()
    return failed


def run_cell(
    name: str, cell: Callable[..., pd.DataFrame], told: Identity, store: Store, files: Iterable[str] = ()
) -> str:
    """Run one cell and write its file; the type and message of its error, or "" if it finished.

    Args:
        name: The study.
        cell: Its function.
        told: What determines the rows, where the cell was sent from.
        store: Where it is written.
        files: The files of methods that were added where it was sent from.

    Raises:
        RuntimeError: This process has other code, versions or methods, or another checkpoint.
        ValueError: A file of methods is not there.
    """
    for file in files:
        add_methods(file)
    told.check_here()
    began, started, rows, error, trace = time.time(), time.perf_counter(), None, "", ""
    try:
        rows = check_rows(cell(**told.passed), told.passed | told.defaulted)
        where = provenance((told.passed | told.defaulted).get("subject"), began, time.perf_counter() - started)
    except Exception as caught:
        rows, error, trace = None, _said(caught), traceback.format_exc()
        where = provenance(None, began, time.perf_counter() - started)
    store.write(Record(name, told, where, rows, error, trace))
    return error


def _here(study: Study, missing: list[Identity], store: Store) -> Iterator[Outcome]:
    for each in missing:
        yield Outcome(each, run_cell(study.name, study.cell, each, store))


def _elsewhere(study: Study, missing: list[Identity], store: Store, executor: Executor) -> Iterator[Outcome]:
    """The outcomes as they come; a stop cancels what was not begun."""
    sent: dict[Any, Identity] = {}
    try:
        for each in missing:
            sent[executor.submit(run_cell, study.name, study.cell, each, store, added_files())] = each
        for future in as_completed(sent):
            yield Outcome(sent[future], _result(study, sent[future], store, future))
    except BrokenExecutor as error:  # it broke while cells were sent
        yield from (Outcome(each, f"not run: {_said(error)}") for each in missing if each not in sent.values())
    finally:
        for future in sent:
            future.cancel()


def _result(study: Study, cell: Identity, store: Store, future: Any) -> str:
    """What a worker says of a cell. One that killed its worker is written as failed, unless others may have done it."""
    try:
        return future.result()
    except (BrokenExecutor, CancelledError) as error:
        return f"not run: {type(error).__name__}: {error}"
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        store.write(Record(study.name, cell, provenance(None, time.time(), 0.0), None, _said(error), trace))
        return _said(error)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def summary(study: Study, failed: list[Outcome]) -> str:
    """The failures of a run, the first of them by name."""
    shown = [f"  {each.identity.passed}: {each.error}" for each in failed[:SHOWN]]
    more = [f"  and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
    first = f"{len(failed)} of {len(study.cells)} cells of {study.name!r} failed; run again to retry them:"
    return "\n".join([first, *shown, *more])
