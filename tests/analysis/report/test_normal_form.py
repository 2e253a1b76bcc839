"""Committed notebooks are as JupyterLab leaves them, so opening and saving one changes nothing."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from analysis.report.normal_form import main, normalised

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_are_in_their_normal_form(path):
    assert normalised(nbformat.read(path, as_version=4)) == path.read_text()


def test_what_belongs_to_one_session_goes_and_what_is_said_stays(tmp_path):
    printed = [new_output("stream", text="a\n"), new_output("stream", text="b\n")]
    about = {"tags": ["main-figure"], "execution": {"iopub.status.busy": "now"}, "trusted": True, "collapsed": False}
    cell = new_code_cell("print('a')", outputs=printed, metadata=about)
    metadata = {"v2drop": {"question": "Why?"}, "widgets": {}, "language_info": {"name": "python", "version": "3.12.1"}}
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[cell], metadata=metadata), path)
    main([str(path)])
    once = path.read_text()
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].metadata == {"tags": ["main-figure"]}
    assert [output.text for output in notebook.cells[0].outputs] == ["a\nb\n"]
    assert set(notebook.metadata) == {"kernelspec", "language_info", "v2drop"}
    assert notebook.metadata.language_info.version == "3.12.1" and once.endswith("}\n")
    main([str(path)])
    assert path.read_text() == once
