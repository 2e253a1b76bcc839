"""Progress is shown by widgets in notebooks, by lines in terminals, and not at all where TQDM_DISABLE is set."""

import subprocess
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from analysis.report.notebooks import kernel_environment

TOP = Path(__file__).parents[2]
CODE = "from analysis.progress import progress_bar\nprint(sum(progress_bar([1, 2], desc='adding')))"


@pytest.mark.parametrize("disabled", [False, True])
def test_in_a_terminal(disabled, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1" if disabled else "")
    done = subprocess.run([sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, cwd=TOP)
    assert done.stdout == "3\n" and ("adding" in done.stderr) != disabled
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("disabled", [False, True])
def test_in_a_notebook(disabled):
    cell = new_code_cell(CODE)
    client = NotebookClient(new_notebook(cells=[cell]), kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    client.execute(env=kernel_environment() | {"PYTHONPATH": str(TOP), "TQDM_DISABLE": "1" if disabled else ""})
    kinds = [kind for output in cell.outputs for kind in output.get("data", [output.get("name")])]
    assert "stderr" not in kinds and ("application/vnd.jupyter.widget-view+json" in kinds) != disabled
