"""The committed notebooks were run, hold no logic, have their numbers compared, and the comparison bites."""

import ast
import re
import shutil
import subprocess
import sys
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
    """Change the first stored float of a notebook by 5 %."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output if output.output_type == "stream" else output.get("data", {})
            key = "text" if output.output_type == "stream" else "text/plain"
            moved = FLOAT.sub(lambda m: f"{1.05 * float(m[0]) or 0.05}", text.get(key, ""), count=1)
            if moved != text.get(key, ""):
                text[key] = moved
                return nbformat.write(notebook, path)
    raise AssertionError(f"{path} stores no float")


def nbval(folder):
    """Run the README's notebook check on a folder; return its output and which notebooks failed."""
    shutil.copy(TOP / "notebooks" / "conftest.py", folder)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command += ["-c", str(TOP / "pyproject.toml"), "--rootdir", str(folder), "--junitxml=result.xml"]
    command += ["--nbval-cell-timeout=300", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    cases = ElementTree.parse(folder / "result.xml").iter("testcase")
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return done.stdout, {case.get("classname").removesuffix(".ipynb") for case in bad}


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


@pytest.mark.parametrize("path", NOTEBOOKS[:1], ids=lambda path: path.stem)  # one is enough
def test_a_changed_number_is_noticed(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path))
    move_first_float(copy)
    output, failed = nbval(tmp_path)
    assert failed == {copy.stem} and "Cell outputs differ" in output


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
    """A notebook of one cell with what it is said to have printed and shown."""
    outputs = [new_output("stream", text=text)] if text else []
    outputs += [new_output("execute_result", data={"text/plain": value}, execution_count=1)] if count else []
    return new_notebook(cells=[new_code_cell(extra + SOURCE, outputs=outputs, execution_count=count)])


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A folder of small notebooks with those that nbval refused."""
    folder = tmp_path_factory.mktemp("small")
    notebooks = {name: small(text) for name, (text, _) in STORED.items()}
    notebooks["value"] = small(SAME, value="0.6")
    notebooks["warning"] = small(SAME, extra="import warnings\nwarnings.warn('new')\n")
    notebooks["cleared"] = small("", count=None)
    notebooks["moved"] = small(SAME)
    for name, notebook in notebooks.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    move_first_float(folder / "moved.ipynb")
    return folder, nbval(folder)[1]


@pytest.mark.parametrize("name", STORED)
def test_comparison_of_printed_text(checked, name):
    assert (name not in checked[1]) == STORED[name][1]


def test_comparison_of_values_and_of_stderr(checked):
    assert {"value", "warning", "moved"} <= checked[1]


def test_cleared_notebook_is_noticed_here_because_nbval_does_not(checked):
    folder, failed = checked
    assert "cleared" not in failed
    for check in (check_was_run_top_to_bottom, check_output_is_compared):
        check(folder / "same.ipynb")
        with pytest.raises(AssertionError):
            check(folder / "cleared.ipynb")
