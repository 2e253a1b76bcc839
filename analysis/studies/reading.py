"""Reading the cells of a study: those of this code and model, or those that were recorded by an earlier one."""

from __future__ import annotations

import os

import pandas as pd

from analysis.models.checkpoints.folders import DATA
from analysis.studies.cells.identity import Identity, function_name, identity
from analysis.studies.cells.rows import with_arguments
from analysis.studies.cells.store import Record, Store
from analysis.studies.cells.study import Study, as_text, resolved

RECORDED = DATA / "studies"
STATES = ("done", "failed", "missing")


def identities(study: Study) -> list[Identity]:
    """What determines each cell of a study here and now, in the order of the cells."""
    return [identity(study.cell, cell) for cell in study.cells]


def read(study: Study, store: str | os.PathLike | Store) -> pd.DataFrame:
    """The rows of all finished cells, as `run` gives them.

    Raises:
        ValueError: No cell of this code and model is in the store, finished.
    """
    return _frame(study, finished(study, store), store)


def finished(study: Study, store: str | os.PathLike | Store) -> list[Record]:
    """The finished cells of this code and model, in the order of the study."""
    store = store if isinstance(store, Store) else Store(store)
    found = (store.read(each.key) for each in identities(study))
    return [record for record in found if record is not None and record.rows is not None]


def status(study: Study, store: str | os.PathLike | Store) -> pd.DataFrame:
    """What is in a store of a study.

    Returns:
        One row per cell: cell (its arguments as text), state ("done", "failed", "missing"), seconds (NaN if missing),
        error (type and message).
    """
    store, rows = store if isinstance(store, Store) else Store(store), []
    for each in identities(study):
        record, cell = store.read(each.key), as_text(each.passed)
        if record is None:
            rows.append((cell, "missing", float("nan"), ""))
        else:
            state = "failed" if record.error else "done"
            rows.append((cell, state, record.provenance.seconds, record.error))
    return pd.DataFrame(rows, columns=["cell", "state", "seconds", "error"])


def recorded(study: Study, folder: str | os.PathLike | None = None) -> list[Record]:
    """The cells of a study that were recorded earlier, perhaps by an older version of the code.

    They are found by the function of the cell and its arguments, and must be of today's model and, if they are of
    methods in a file of one's own, of that file. Tests make some of them
    again with today's code.

    Args:
        study: The study.
        folder: The folder; None for the one under data/studies.

    Raises:
        ValueError: A cell is not there, is there twice, or was made on another checkpoint or file of methods.
    """
    store = Store(RECORDED / study.name if folder is None else folder)
    found: dict[str, Record] = {}
    for record in store.records():
        if record.rows is not None:
            told = as_text([record.identity.function, record.identity.passed | record.identity.defaulted])
            if told in found:
                raise ValueError(f"{str(store.folder)!r} must hold each cell once; it holds {told} twice.")
            found[told] = record
    wanted = [as_text([function_name(study.cell), resolved(study.cell, cell)]) for cell in study.cells]
    absent = [told for told in wanted if told not in found]
    if absent:
        raise ValueError(
            f"{str(store.folder)!r} must hold all {len(wanted)} cells of {study.name!r}; it lacks {len(absent)}, the "
            f"first {absent[0]}. `python -m analysis.studies run ... --store {store.folder}` makes them."
        )
    records = [found[told] for told in wanted]
    for record, now in zip(records, identities(study), strict=True):
        if record.identity.methods != now.methods:
            raise ValueError(
                f"{str(store.folder)!r} must hold cells of today's file of methods; those of {now.passed} were made "
                "with another one."
            )
        if record.identity.model != now.model:
            raise ValueError(
                f"{str(store.folder)!r} must hold cells of today's {now.passed}; got another checkpoint's."
            )
    return records


def read_recorded(study: Study, folder: str | os.PathLike | None = None) -> pd.DataFrame:
    """The rows of all cells of a study that was recorded earlier; as `recorded`, and as `read` gives them."""
    return _frame(study, recorded(study, folder), folder or RECORDED)


def _frame(study: Study, records: list[Record], store: object) -> pd.DataFrame:
    if not records:
        where = str(getattr(store, "folder", store))
        raise ValueError(
            f"{where!r} must hold finished cells of {study.name!r}, made by this code and model; it holds none. "
            "`analysis.run` or `python -m analysis.studies run` makes them."
        )
    return pd.concat(
        [with_arguments(each.rows, each.identity.passed | each.identity.defaulted) for each in records],
        ignore_index=True,
    )
