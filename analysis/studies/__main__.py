"""Ablations from the command line: `python -m analysis.studies run layers`.

A study is one of those in analysis/studies/ablations, or a Python file of your own that holds one as STUDY. `run` does
what is missing and can be stopped at any time (Ctrl-C); the same command goes on. Status 1: cells failed or are
missing; 2: wrong arguments; 130: stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from analysis.figures.study_figures import study_figure
from analysis.figures.study_tables import written_table
from analysis.studies.cells.store import Record, Store
from analysis.studies.cells.study import Study
from analysis.studies.executors import executor_of
from analysis.studies.finding import asking_also, changed, known_studies, study_of
from analysis.studies.reading import finished, read, read_recorded, recorded, status
from analysis.studies.running import run_missing, summary
from analysis.studies.tabulate import provenance_text, study_table
from v2drop.arguments import whole_number
from v2drop.methods.from_file import add_methods


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the status of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        limit = None if options.limit is None else whole_number("--limit", options.limit, 1)
        own = add_methods(options.methods) if options.methods else []
        study = changed(asking_also(study_of(options.study), own), options.model, limit)
        return options.act(study, options.store or Path("runs") / "studies" / study.name, options)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def _run(study: Study, store: Path, options: argparse.Namespace) -> int:
    with executor_of(options.scheduler) as executor:
        failed = run_missing(study, Store(store), executor)
    if failed:
        print(summary(study, failed), file=sys.stderr)
    return _status(study, store, options)


def _status(study: Study, store: Path, _: argparse.Namespace) -> int:
    found = status(study, store)
    for cell in found[found.state == "failed"].itertuples():
        print(f"failed  {cell.cell}  {cell.error}")
    counts = found.state.value_counts()
    said = ", ".join(f"{counts.get(state, 0)} {state}" for state in ("done", "failed", "missing"))
    print(f"{study.name}: {said}; {found.seconds.sum() / 60:.1f} minutes; {store}")
    return int((found.state != "done").any())


def _table(study: Study, store: Path, options: argparse.Namespace) -> int:
    table, records, incomplete = _tabulated(study, store, options)
    form = "latex" if options.latex else "csv" if options.csv else "markdown"
    caption = f"{study.caption} {provenance_text(records, len(study.cells))}".strip()
    print(written_table(table, form, caption, f"tab:{study.name}"))
    return incomplete


def _tabulated(study: Study, store: Path, options: argparse.Namespace) -> tuple[pd.DataFrame, list[Record], int]:
    """The table, its cells, and 1 if some are missing, which is said."""
    if options.recorded:  # whose cells are all there
        return study_table(read_recorded(study, options.store), study, options.value), recorded(study, options.store), 0
    rows, records = read(study, store), finished(study, store)
    if len(records) < len(study.cells):
        print(f"of {len(study.cells)} cells {len(records)} are finished: `status` names the others", file=sys.stderr)
    return study_table(rows, study, options.value), records, int(len(records) < len(study.cells))


def _figure(study: Study, store: Path, options: argparse.Namespace) -> int:
    ylabel = "accuracy" if options.value == "right" else options.value.replace("_", " ")
    table, _, incomplete = _tabulated(study, store, options)
    figure = study_figure(table, ylabel, ", ".join(study.columns))
    options.output.mkdir(parents=True, exist_ok=True)
    for suffix in ("pdf", "png"):
        path = options.output / f"{study.name}.{suffix}"
        figure.savefig(path, dpi=300)
        print(path)
    plt.close(figure)
    return incomplete


ACTS = {
    "run": (_run, "run what is missing"),
    "status": (_status, "what is done, has failed or is missing"),
    "table": (_table, "print the table: Markdown, or as --latex or --csv"),
    "figure": (_figure, "write the figure: PDF and PNG"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.studies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    acts = parser.add_subparsers(required=True, metavar="{" + ",".join(ACTS) + "}")
    for name, (act, said) in ACTS.items():
        each = acts.add_parser(name, help=said, description=said)
        each.set_defaults(act=act)
        each.add_argument("study", help=f"{', '.join(known_studies())}, or a Python file")
        each.add_argument("--model", help="a folder or hub id in place of the study's models")
        each.add_argument("--methods", help="a Python file of methods of your own, asked wherever random dropping is")
        each.add_argument("--limit", type=int, help="of the questions: so many, to try it")
        each.add_argument("--store", type=Path, help="folder of the cells; default: runs/studies/<study>")
        if name == "run":
            text = "here (default), processes:4, dask, tcp://host:8786 or a dask scheduler's file"
            each.add_argument("--scheduler", default="here", help=text)
        if name in ("table", "figure"):
            text = "cells of data/studies or --store that an earlier version of the code made; all must be there"
            each.add_argument("--recorded", action="store_true", help=text)
            each.add_argument("--value", default="right", choices=["right", "log_probability"])
        if name == "table":
            form = each.add_mutually_exclusive_group()
            form.add_argument("--latex", action="store_true", help="booktabs")
            form.add_argument("--csv", action="store_true", help="all numbers, in long form")
        if name == "figure":
            each.add_argument("--output", type=Path, default=Path("reports"), help="folder; default: reports")
    return parser


if __name__ == "__main__":
    sys.exit(main())
