"""The committed notebooks were run, hold no logic, have their numbers compared, and the comparison bites."""

import ast
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

TOP = Path(__file__).parent.parent
NOTEBOOKS = sorted((TOP / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
FLOAT = re.compile(r"\d+\.\d+(?:e[-+]?\d+)?")


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def texts(cell):
    """The outputs that are compared: what was printed, and the plain text of values."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif "data" in output:
            yield output.data.get("text/plain", "")


def check_was_run_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


def check_output_is_compared(path):
    cells = code_cells(path)
    tags = [tag for cell in cells for tag in cell.metadata.get("tags", []) if tag.startswith("nbval")]
    assert not any("NBVAL_" in cell.source or "PYTEST_VALIDATE" in cell.source for cell in cells)
    assert tags in ([], ["nbval-ignore-output"])
    assert any(FLOAT.search(text) for cell in cells for text in texts(cell))


def move_first_float(path):
    """Change the first stored float of a notebook by 5 %, and end the notebook there."""
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = output if output.output_type == "stream" else output.get("data", {})
            key = "text" if output.output_type == "stream" else "text/plain"
            moved = FLOAT.sub(lambda m: f"{1.05 * float(m[0]) or 0.05}", text.get(key, ""), count=1)
            if moved != text.get(key, ""):
                text[key], notebook.cells = moved, notebook.cells[: number + 1]
                return nbformat.write(notebook, path)
    raise AssertionError(f"{path} stores no float")


def nbval(folder):
    """Run the check of `make test` on a folder; for every notebook that failed, what was said of its bad cells."""
    shutil.copy(TOP / "notebooks" / "conftest.py", folder)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command += ["-c", str(TOP / "pyproject.toml"), "--rootdir", str(folder), "--junitxml=result.xml"]
    command += ["--numprocesses=1", "--dist=loadfile"]  # as in `make test`, but for the number
    command += ["--nbval-cell-timeout=300", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    failed = defaultdict(dict)
    for case in ElementTree.parse(folder / "result.xml").iter("testcase"):
        for trouble in (*case.iter("failure"), *case.iter("error")):
            cell = int(re.search(r"\d+$", case.get("name"))[0])
            failed[case.get("classname").removesuffix(".ipynb")][cell] = trouble.text
    return failed


@EACH
def test_was_run_top_to_bottom(path):
    check_was_run_top_to_bottom(path)


@EACH
def test_has_no_logic_of_its_own(path):
    logic = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.While | ast.Try
    for cell in code_cells(path):
        tree = ast.parse(cell.source)
        assert not any(isinstance(node, logic) for node in ast.walk(tree)), cell.source
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]  # one name a line
        n_import_lines = sum(node.end_lineno - node.lineno + 1 for node in imports)
        assert len(cell.source.splitlines()) - n_import_lines <= 12, cell.source


@EACH
def test_output_is_compared(path):
    check_output_is_compared(path)


SOURCE = "print('share', 0.12345, 'of', 17, 'tokens')\n0.5"
SAME = "share 0.12345 of 17 tokens\n"
STORED = {  # what the notebook says it printed -> whether that must be accepted
    "same": (SAME, True),
    "last_digit": ("share 0.12346 of 17 tokens\n", True),
    "other_widths": ("share   0.12345 of 17  tokens\n", True),
    "five_percent": ("share 0.12962 of 17 tokens\n", False),
    "whole_number": ("share 0.12345 of 18 tokens\n", False),
    "word": ("part 0.12345 of 17 tokens\n", False),
    "sign": ("share -0.12345 of 17 tokens\n", False),
    "one_number_more": ("share 0.12345 of 17 tokens 1.0\n", False),
    "nothing": ("", False),
}


def small(text, extra="", value="0.5", count=1):
    """A cell with what it is said to have printed and shown."""
    outputs = [new_output("stream", text=text)] if text else []
    outputs += [new_output("execute_result", data={"text/plain": value}, execution_count=1)] if count else []
    return new_code_cell(extra + SOURCE, outputs=outputs, execution_count=count)


CELLS = {name: small(text) for name, (text, _) in STORED.items()}
CELLS["value"] = small(SAME, value="0.6")
CELLS["warning"] = small(SAME, extra="import warnings\nwarnings.warn('new')\n")
FILES = {
    "all": list(CELLS.values()),
    "same": [CELLS["same"]],
    "moved": [CELLS["same"]],
    "cleared": [small("", count=None)],
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A folder of small notebooks and the start of a committed one, with what nbval said of them."""
    folder = tmp_path_factory.mktemp("small")
    for name, cells in FILES.items():
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    for path in (folder / "moved.ipynb", shutil.copy(NOTEBOOKS[0], folder / "committed.ipynb")):
        move_first_float(path)
    return folder, nbval(folder)


@pytest.fixture(scope="module")
def refused(checked):
    return {list(CELLS)[number] for number in checked[1]["all"]}


@pytest.mark.parametrize("name", STORED)
def test_comparison_of_printed_text(refused, name):
    assert (name not in refused) == STORED[name][1]


def test_comparison_of_values_and_of_stderr(refused):
    assert {"value", "warning"} <= refused


@pytest.mark.parametrize("name", ["moved", "committed"])
def test_a_number_that_was_changed_in_the_file_is_noticed(checked, name):
    (said,) = checked[1][name].values()
    assert "Cell outputs differ" in said


def test_cleared_notebook_is_noticed_here_because_nbval_does_not(checked):
    folder, failed = checked
    assert not {"cleared", "same"} & set(failed)
    for check in (check_was_run_top_to_bottom, check_output_is_compared):
        check(folder / "same.ipynb")
        with pytest.raises(AssertionError):
            check(folder / "cleared.ipynb")
