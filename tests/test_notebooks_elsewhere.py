"""Notebook 01 runs to its end on checkpoints whose pictures are no square grid of many tokens, with few layers."""

import re
from pathlib import Path

import nbformat
import pytest

from analysis.report.notebooks import execute, forget_outputs
from tests.support import zoo

TOP = Path(__file__).parents[1]
QUICKSTART = TOP / "notebooks" / "01_quickstart.ipynb"
GRIDS = {  # family -> what the notebook says of the tiny checkpoint's picture of a mosaic
    "qwen2_vl": "3 x 3",
    "llava_onevision": "2 x 2, 4 x 4",
    "internvl": "2 x 2",
}


def few_questions(notebook):
    """The same cells with ten questions instead of hundreds: what is tested is that they run, not what they find."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r"sample\((\d+)", lambda m: f"sample({min(10, int(m[1]))}", cell.source)
    return notebook


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("family", GRIDS)
def test_the_quick_start_runs_to_its_end(family, tmp_path, monkeypatch):
    zoo.model(family).save_pretrained(tmp_path / "model")
    zoo.processor(family).save_pretrained(tmp_path / "model")
    monkeypatch.setenv("V2DROP_MODEL", str(tmp_path / "model"))
    monkeypatch.setenv("PYTHONPATH", str(TOP))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # tiny models: threads wait for each other longer than they work
    notebook = few_questions(nbformat.read(QUICKSTART, as_version=4))
    forget_outputs(notebook)
    assert execute(notebook, tmp_path, lambda: None) == ""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "input of layers (1, 3)" in printed(cells[1]) and GRIDS[family] in printed(cells[2])
    assert all(output.output_type != "stream" or output.name == "stdout" for cell in cells for output in cell.outputs)
