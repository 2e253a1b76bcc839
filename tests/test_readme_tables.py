"""The READMEs say what is there: their tables are compared with the code."""

import re
import tomllib
from code import InteractiveConsole
from dataclasses import fields
from pathlib import Path

import pytest

from analysis.efficiency.footprint import footprint, qwen_72b
from analysis.report.families_table import families_table
from analysis.report.notebook_cards import notebooks_table
from v2drop import METHODS

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text()
METHODS_PAGE = (TOP / "v2drop" / "README.md").read_text()
IN_ONE_LINE = " ".join(METHODS_PAGE.split())


def test_both_tables_of_methods_list_exactly_the_methods():
    properties, sources = METHODS_PAGE.split("## Methods")[1].split("| method | as published")
    assert re.findall(r"^\| `(\w+)` \|", properties, re.M) == list(METHODS)
    assert re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|(.*?)\|", sources, re.M))) == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_the_table_of_methods_shows_options_that_there_are(name):
    ((called, options),) = re.findall(rf"^\| `{name}` \| `(\w+)\(schedule(.*?)\)` \|", METHODS_PAGE, re.M)
    assert called == METHODS[name].__name__
    defaults = {field.name: field.default for field in fields(METHODS[name])}
    for option, value in re.findall(r"(\w+)=([^,]+)", options):
        assert repr(defaults[option]).replace("'", '"') == value


def test_the_families_table_is_made_from_the_list_that_the_tests_run_over():
    assert families_table() in METHODS_PAGE


def test_what_a_72b_model_needs():
    needed = footprint(qwen_72b()).set_index("part")
    said = f"{needed.numbers['all'] / 1e9:.1f} billion parameters, {needed.bytes['all'] / 1e9:.1f} GB in bfloat16"
    assert said in IN_ONE_LINE
    assert f"{needed.bytes['cache'] / 1e6:.2f} MB of cache a token" in IN_ONE_LINE


def test_the_versions_of_transformers_are_those_that_are_tested():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    (lowest,) = re.findall(r"transformers>=([\d.]+),<6", " ".join(project))
    pinned = re.search(r"^transformers==([\d.]+)$", (TOP / "constraints.txt").read_text(), re.M)[1]
    said = f"transformers from {lowest} to the newest 5.x ({pinned} when the numbers were made)"
    assert said in IN_ONE_LINE


def test_the_notebooks_are_listed_with_question_and_answer():
    assert notebooks_table(TOP / "notebooks") in README
    listed = re.findall(r"^\| \[`?([\w.]+\.ipynb)`?\]", (TOP / "notebooks" / "README.md").read_text(), re.M)
    assert listed == sorted(page.name for page in TOP.glob("notebooks/*.ipynb"))


def test_the_quick_start_is_short_and_can_be_pasted_line_by_line(capsys, monkeypatch):
    monkeypatch.chdir(TOP)
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    console = InteractiveConsole({})  # what the prompt cannot read, a reader cannot either
    for line in code.splitlines():
        console.push(line)
    expected = re.findall(r"print\(.*\)\s+# (.+)", code)
    assert expected and capsys.readouterr().out.split("\n")[:-1] == [line.strip() for line in expected]
