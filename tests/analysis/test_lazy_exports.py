"""`import analysis` loads nothing; every public name is there, and is what its module defines."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import analysis

TOP = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "seaborn", "v2drop")
NOTEBOOKS = sorted((TOP / "notebooks").glob("*.ipynb"))


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TOP)


def test_importing_the_package_loads_nothing_heavy():
    done = run(f"import sys, analysis; print(*sorted(set({HEAVY}) & set(sys.modules)))")
    assert done.stdout.split() == [], done.stderr


def test_a_statistic_loads_neither_a_model_nor_a_plot():
    done = run("import sys; from analysis import criterion_groups, bootstrap_interval; print(*sys.modules)")
    assert not {"seaborn", "matplotlib"} & set(done.stdout.split()), done.stderr


@pytest.mark.parametrize("name", analysis.__all__)
def test_a_public_name_is_what_its_module_defines(name):
    value, home = getattr(analysis, name), analysis._HOMES[name]
    assert value is getattr(importlib.import_module(home), name)
    origin = getattr(value, "__module__", None)
    assert origin in (home, None, "builtins", "pathlib")  # not a name that another module defines


def test_no_public_name_is_a_room():
    rooms = {path.parent.name for path in (TOP / "analysis").glob("*/__init__.py")}
    assert rooms and not rooms & set(analysis.__all__)


def test_a_name_is_a_function_whatever_was_imported_before():
    code = "import analysis.comparison.accuracy, analysis.comparison; from analysis import accuracy; print(accuracy)"
    assert run(code).stdout.startswith("<function accuracy")


def test_names_are_completed_and_unknown_ones_are_refused():
    assert {"accuracy", "load", "variation_impact"} <= set(dir(analysis))
    with pytest.raises(AttributeError, match="module 'analysis' has no attribute 'acuracy'"):
        analysis.acuracy  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'acuracy'"):
        exec("from analysis import acuracy")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_import_public_names_from_the_package_itself(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("analysis."):
            assert not {alias.name for alias in node.names} & set(analysis.__all__)
