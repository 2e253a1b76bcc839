"""From the rows of a study to its table: means with intervals, and what is best beyond chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.comparison.accuracy import NOTHING_DROPPED, summarise_accuracy
from analysis.comparison.pairs import pairwise_differences
from analysis.statistics.lists import names
from analysis.studies.cells.rows import short
from analysis.studies.cells.store import Record
from analysis.studies.cells.study import Study

LEVEL = 0.05  # of q, below which a difference counts
LABELS = ["table", "row", "column"]
TABLE_COLUMNS = [*LABELS, "mean", "low", "high", "n", "mark"]


def study_table(frame: pd.DataFrame, study: Study, value: str = "right", compare: str = "rows") -> pd.DataFrame:
    """The table of a study in long form.

    "best" is marked where the largest mean is significantly above every other that it is compared with, "second" where
    the next is significantly above all but the best: by the paired differences of all pairs (`pairwise_differences`),
    corrected for all of them in all tables of the study. What drops nothing is not compared.

    Args:
        frame: The rows of the study's cells (`run`), with a row for each question, and for each draw if there are some.
        study: The study, which says what tells rows, columns and tables apart.
        value: The column that is averaged, "right" or "log_probability".
        compare: "rows": the rows of each column are compared. "columns": the columns of each row.

    Returns:
        One row per cell of the table: table, row, column (texts), mean, low, high, n (questions), mark ("best",
        "second", ""). A row without any of the arguments that tell columns apart, as "nothing dropped", stands in all
        columns of all tables of its subject.

    Raises:
        ValueError: A column is missing, or as for `analysis.summarise_accuracy`.
    """
    labelled = in_every_column(labels(frame, study))
    summary = summarise_accuracy(labelled, LABELS, value)
    compared, other = ("row", "column") if compare == "rows" else ("column", "row")
    marks = _marks(labelled[~labelled.row.str.startswith(NOTHING_DROPPED)], value, compared, ["table", other])
    mark = [marks.get((each.table, each[other], each[compared]), "") for _, each in summary[LABELS].iterrows()]
    return summary.assign(mark=mark)[TABLE_COLUMNS]


def labels(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The frame with the texts table, row and column; "" where a cell has none of the arguments."""
    named = {"table": study.by, "row": study.rows, "column": study.columns}
    texts = {label: _texts(frame, names(label, columns, least=0)) for label, columns in named.items()}
    return frame.drop(columns=[*LABELS], errors="ignore").assign(**texts)


def in_every_column(labelled: pd.DataFrame) -> pd.DataFrame:
    """The frame with the rows that belong to no column repeated in each, of every table that says more than they do."""
    own, alone = labelled[labelled.column != ""], labelled[labelled.column == ""]
    parts, placed = [own], np.zeros(len(alone), bool)
    for table, column in own[["table", "column"]].drop_duplicates().itertuples(index=False):
        here = np.array([name == "" or f"{table}, ".startswith(f"{name}, ") for name in alone.table], bool)
        parts.append(alone[here].assign(table=table, column=column))
        placed |= here
    order = {row: number for number, row in enumerate(labelled.row.unique())}
    whole = pd.concat([*parts, alone[~placed]], ignore_index=True)
    return whole.sort_values("row", key=lambda rows: rows.map(order), kind="stable", ignore_index=True)


def provenance_text(records: Iterable[Record], n_cells: int | None = None) -> str:
    """Where the cells of a table come from, in a sentence for its caption.

    Args:
        records: The finished cells.
        n_cells: The number of cells of the study, which is told where some are missing; None: none is.
    """
    records = list(records)
    of = "" if n_cells in (None, len(records)) else f" of {n_cells}"
    where = [record.provenance for record in records]
    commits = sorted({(p.commit[:12] or "no checkout") + (" with changes" if p.dirty else "") for p in where})
    packages = sorted(
        {f"{name} {record.identity.versions[name]}" for record in records for name in ("torch", "transformers")}
    )
    machines = sorted({", ".join(filter(None, (p.hardware, p.dtype, p.operator))) for p in where})
    days, minutes = sorted({p.started[:10] for p in where}), sum(p.seconds for p in where) / 60
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"{len(records)}{of} cells, {minutes:.1f} minutes, {span}; commit {', '.join(commits)}; {', '.join(packages)}; "
        f"{'; '.join(machines)}."
    )


def _texts(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The values of some columns as one text a row: a single column's with its name, unless it says what it is."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(
            f"the frame must have the study's columns {', '.join(columns)}; it lacks {', '.join(missing)}."
        )
    parts = [frame[column].map(lambda value, column=column: _text(column, value)) for column in columns]
    return [", ".join(filter(None, row)) for row in zip(*parts, strict=True)] if parts else [""] * len(frame)


def _text(column: str, value: object) -> str:
    if value is None or value != value or value == "":
        return ""
    return short(value) if isinstance(value, float) else str(value)


def _marks(frame: pd.DataFrame, value: str, compared: str, by: list[str]) -> dict[tuple, str]:
    """The marks by table, other label and compared label."""
    several = frame.groupby(by)[compared].transform("nunique") > 1
    if not several.any():
        return {}
    differences = pairwise_differences(frame[several], value, by=by, of=compared)
    turned = differences.rename(columns={"first": "second", "second": "first"})
    both = pd.concat([differences, turned.assign(difference=-differences.difference)])
    above = both[(both.q < LEVEL) & (both.difference > 0)].groupby([*by, "first"]).size()
    others = both.groupby([*by, "first"]).size()
    marks = {}
    for key, n in above.items():
        behind = others[key] - n  # of the others, so many are not significantly below
        marks |= {key: "best"} if behind == 0 else {key: "second"} if behind == 1 else {}
    return {key: mark for key, mark in marks.items() if mark == "best" or _has_best(marks, key)}


def _has_best(marks: dict[tuple, str], key: tuple) -> bool:
    return any(other[:-1] == key[:-1] and mark == "best" for other, mark in marks.items())
