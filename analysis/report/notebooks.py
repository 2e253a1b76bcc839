"""Run every notebook and publish what it says.

``python -m analysis.report [--notebooks DIR] [--output DIR]`` executes each one on a copy in memory, so the
committed ones stay as they are, and makes it one HTML page; ``index.html`` lists them. A notebook that fails
still has its page, with the traceback, and the others still run.
"""

import argparse
import datetime
import html
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from tqdm import tqdm

from analysis.pages import Heading, heading, page

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: light-dark(#c62828, #ff8a80); }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.15rem; margin: 0; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
a { color: light-dark(#1557b0, #8ab4f8); text-decoration: none; }
a:hover { text-decoration: underline; }
ol { list-style: none; padding: 0; }
li { border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; margin: .8rem 0; }
li.bad { border-color: var(--bad); border-left-width: .4rem; }
strong.bad { color: var(--bad); }
small, dl { opacity: .8; font-size: .875rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Entry:
    """What the index says of one notebook: its page, its first words, how its run went."""

    href: str
    heading: Heading
    seconds: float
    error: str  # empty after a good run

    def item(self) -> str:
        """Return the entry as an HTML list item."""
        css = ' class="bad"' if self.error else ""
        failure = f"<p><strong{css}>FAILED</strong> {html.escape(self.error)}</p>" if self.error else ""
        return (
            f'<li{css}><h2><a href="{html.escape(self.href)}">{self.heading.title}</a></h2>'
            f"{self.heading.summary}{failure}<small>ran {self.seconds:.0f} s</small></li>"
        )


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
    """Return what kernels are told: no progress bars, and V2DROP_MODEL as seen from their own folder."""
    environment = os.environ | {"TQDM_DISABLE": "1"}  # a page of half-drawn bars says nothing
    model = environment.get("V2DROP_MODEL")
    if model and Path(model).is_dir():
        environment["V2DROP_MODEL"] = str(Path(model).resolve())
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
        timeout=None,  # a real model may think for an hour
    )
    try:
        client.execute(env=kernel_environment())
    except (CellControlSignal, RuntimeError) as error:  # the second when the kernel itself died
        return strip_ansi(str(error)).strip().splitlines()[-1]
    return ""


def publish(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it, so that no half-written page is ever seen."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def index(entries: Sequence[Entry], model: str) -> str:
    """Return the page that lists all the others."""
    bad = sum(bool(entry.error) for entry in entries)
    facts = {
        "Model": model,
        "Made": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "Run time": f"{sum(entry.seconds for entry in entries):.0f} s",
        **{name: version(name) for name in ("v2drop", "torch", "transformers")},
    }
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
    verdict = f'<p><strong class="bad">{bad} of {len(entries)} FAILED</strong></p>' if bad else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>V2Drop report</title><style>{STYLE}</style></head>"
        f"<body><main><h1>V2Drop report</h1>{verdict}<dl>{rows}</dl>"
        f"<ol>{''.join(entry.item() for entry in entries)}</ol></main></body></html>\n"
    )


def report(folder: Path, output: Path) -> list[Entry]:
    """Run the notebooks of `folder` and write their pages and the index to `output`.

    Returns:
        What the index says of each notebook.

    Raises:
        ValueError: `folder` holds nothing to run, or `output` is a file.
    """
    notebooks = read_notebooks(folder)
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output must be a folder; {str(output)!r} is a file.")
    output.mkdir(parents=True, exist_ok=True)
    n_cells = [forget_outputs(notebook) for notebook in notebooks.values()]
    entries = []
    with tqdm(total=sum(n_cells), unit="cell") as bar:
        for name, notebook in notebooks.items():
            bar.set_description(name)
            start = time.perf_counter()
            error = execute(notebook, folder, bar.update)
            entry = Entry(f"{name}.html", heading(notebook, name), time.perf_counter() - start, error)
            publish(output / entry.href, page(notebook, name, folder))
            entries.append(entry)
            bar.update(sum(n_cells[: len(entries)]) - bar.n)  # the cells that a failure left out
    publish(output / "index.html", index(entries, os.environ.get("V2DROP_MODEL") or "the embedded one"))
    return entries


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report; return 1 when a notebook failed. Wrong arguments end the program with status 2."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Run notebooks.")
    for name, default in (("--notebooks", "notebooks"), ("--output", "reports")):
        parser.add_argument(name, type=Path, default=Path(default), metavar="DIR", help=f"default: {default}")
    options = parser.parse_args(arguments)
    try:
        entries = report(options.notebooks, options.output)
    except ValueError as error:
        parser.error(str(error))
    for entry in entries:
        if entry.error:
            print(f"FAILED {entry.href}: {entry.error}", file=sys.stderr)
    print(options.output / "index.html")
    return int(any(entry.error for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
