"""Text about the embedded model is marked on the pages of another, and only there."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from analysis.models.loading import EMBEDDED
from analysis.report.notebooks import report
from analysis.report.other_models import TAG, other_model
from tests.support.own_methods import nothing_added, written  # noqa: F401 - a fixture
from tests.test_notebooks import NOTEBOOKS
from v2drop.methods.from_file import add_methods

MARK = "Found on the embedded model, not on"
SAYS = re.compile(r"#+ (what was found|verdict(s| on .*)?$)", re.IGNORECASE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_says_was_found_has_the_tag(path):
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if TAG in cell.metadata.get("tags", [])]
    assert tagged and all(cell.cell_type == "markdown" for cell in tagged)
    for cell in cells:
        if cell.cell_type == "markdown" and any(map(SAYS.match, cell.source.splitlines())):
            after = cell if len(cell.source.splitlines()) > 1 else cells[cells.index(cell) + 2]  # a heading over a cell
            assert after in tagged


@pytest.mark.parametrize(("model", "marked"), [(None, 0), (str(EMBEDDED), 0), ("org/another", 1)])
def test_pages_of_another_model_are_marked(tmp_path, monkeypatch, model, marked):
    """The file itself stays as it is; text that is no finding is not marked."""
    found = new_markdown_cell("## What was found\n\n0.61", metadata={"tags": [TAG]})
    cells = [new_markdown_cell("# Title\n\nWords."), new_code_cell("print(1.5)"), found]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    before = (tmp_path / "a.ipynb").read_bytes()
    monkeypatch.delenv("V2DROP_MODEL", raising=False)
    if model:
        monkeypatch.setenv("V2DROP_MODEL", model)
    assert other_model() == ("org/another" if marked else "")
    (entry,) = report(tmp_path, tmp_path / "out")
    page = (tmp_path / "out" / "a.html").read_text()
    assert not entry.error and page.count(MARK) == marked and (tmp_path / "a.ipynb").read_bytes() == before
    assert page.index("Words.") < page.find(MARK) < page.index("0.61") if marked else MARK not in page


def test_pages_with_a_method_from_outside_are_marked(tmp_path, monkeypatch, nothing_added):  # noqa: F811
    found = new_markdown_cell("## What was found\n\n0.61", metadata={"tags": [TAG]})
    asked = new_code_cell("from analysis import fitting_methods, load\nprint('my_method' in fitting_methods(load()))")
    nbformat.write(new_notebook(cells=[asked, found]), tmp_path / "a.ipynb")
    add_methods(written(tmp_path / "mine.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("V2DROP_METHODS", "mine.py")  # a path as seen from here, not from the kernel's folder
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.ipynb").rename(tmp_path / "sub" / "a.ipynb")
    (entry,) = report(tmp_path / "sub", tmp_path / "out")
    page = (tmp_path / "out" / "a.html").read_text()
    assert not entry.error and "True" in page
    assert page.index("Found without") < page.index("0.61") and "my_method" in page
