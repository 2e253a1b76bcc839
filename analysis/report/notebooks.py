"""Run notebooks on copies in memory and write their pages and the index."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode

from analysis.progress import progress_bar
from analysis.report.html_pages import page, title_and_summary
from analysis.report.index_page import ReportEntry, index
from analysis.report.notebook_cards import card, main_figure
from analysis.report.other_models import mark_findings, other_methods, other_model
from analysis.work_folders import check_writable, written_whole


def read_notebooks(folder: Path) -> dict[str, NotebookNode]:
    """Return the notebooks of a folder by name, sorted.

    Raises:
        ValueError: there is no such folder, no notebook in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"--notebooks must be a folder; got {str(folder)!r}.")
    notebooks = {}
    for path in sorted(folder.glob("*.ipynb")):
        try:
            notebooks[path.stem] = nbformat.read(path, as_version=4)
        except Exception as error:  # nbformat lets through KeyError, AttributeError and more
            raise ValueError(f"{path} must be a notebook; reading it gave {error!r}.") from error
    if not notebooks:
        raise ValueError(f"--notebooks must hold at least one .ipynb; {str(folder)!r} has none.")
    return notebooks


def forget_outputs(notebook: NotebookNode) -> int:
    """Empty the outputs, lest old ones follow a failure; return the number of cells to run."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    return sum(bool(cell.source.strip()) for cell in cells)


def kernel_environment() -> dict[str, str]:
    """Return what kernels are told: no progress bars, and model and methods as seen from their own folder."""
    environment = os.environ | {"TQDM_DISABLE": "1"}  # a page of half-drawn bars says nothing
    model = environment.get("V2DROP_MODEL")
    if model and Path(model).is_dir():
        environment["V2DROP_MODEL"] = str(Path(model).resolve())
    if methods := environment.get("V2DROP_METHODS"):
        environment["V2DROP_METHODS"] = str(Path(methods).resolve())
    return environment


def execute(notebook: NotebookNode, folder: Path, tick: Callable[[], object]) -> str:
    """Run a notebook in place, calling `tick` after each cell; return the last line of the error, or ''."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",  # this environment's own, whatever the file says
        extra_arguments=["--log-level=ERROR"],  # without it each kernel warns that it listens on TCP
        resources={"metadata": {"path": str(folder)}},
        on_cell_complete=lambda **_: tick(),
        record_timing=False,
        coalesce_streams=True,
        timeout=None,  # a real model may think for an hour
    )
    try:
        client.execute(env=kernel_environment())
    except (CellControlSignal, RuntimeError) as error:  # the second when the kernel itself died
        return strip_ansi(str(error)).strip().splitlines()[-1]
    return ""


def write_page(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    with written_whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def report(folder: Path, output: Path) -> list[ReportEntry]:
    """Run the notebooks of `folder` and write their pages and the index to `output`.

    Returns:
        What the index says of each notebook.

    Raises:
        ValueError: `folder` holds nothing to run, or `output` cannot be written to.
    """
    notebooks = read_notebooks(folder)
    check_writable("--output", output)
    n_cells = [forget_outputs(notebook) for notebook in notebooks.values()]
    entries = []
    with progress_bar(total=sum(n_cells), unit="cell") as bar:
        for name, notebook in notebooks.items():
            bar.set_description(name)
            start = time.perf_counter()
            error = execute(notebook, folder, bar.update)
            entries.append(entry(notebook, name, time.perf_counter() - start, error))
            mark_findings(notebook, other_model(), other_methods())
            write_page(output / entries[-1].href, page(notebook, name, folder))
            bar.update(sum(n_cells[: len(entries)]) - bar.n)  # the cells that a failure left out
    write_page(output / "index.html", index(entries, other_model()))
    return entries


def entry(notebook: NotebookNode, name: str, seconds: float, error: str) -> ReportEntry:
    """Return what the index says of a notebook that was run."""
    title, summary = title_and_summary(notebook, name)
    return ReportEntry(f"{name}.html", title, summary, card(notebook), main_figure(notebook), seconds, error)
