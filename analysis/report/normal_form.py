"""Notebooks in the form in which JupyterLab leaves them, so that opening and saving one changes nothing.

``python -m analysis.report.normal_form notebooks/*.ipynb`` brings them into it; ``make notebooks`` does. JupyterLab 4
writes the kernel's own display name and language when a notebook is opened, and joins pieces of printed text when a
cell is run. The version of Python in the metadata is that of the kernel: with another one, that line does change.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {  # and the version of Python
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
OURS = ("v2drop",)  # of a notebook's metadata
KEPT = ("tags",)  # of a cell's: the rest is of one session (timings, folds, trust)


def normalised(notebook: NotebookNode) -> str:
    """Return a notebook in its normal form, as the text of its file."""
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.from_dict(notebook), {})
    version = notebook.metadata.get("language_info", {}).get("version", "")
    ours = {key: notebook.metadata[key] for key in OURS if key in notebook.metadata}
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE | {"version": version}})
    notebook.metadata.update(ours)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT if cell.metadata.get(key)})
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def main(paths: Sequence[str]) -> None:
    """Bring notebooks into their normal form, in place."""
    for path in map(Path, paths):
        text = normalised(nbformat.read(path, as_version=4))
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
