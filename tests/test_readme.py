"""The README says what is there."""

import re
import tomllib
from code import InteractiveConsole
from pathlib import Path

import pytest

from analysis.efficiency.footprint import footprint, qwen_72b
from analysis.report.families_table import families_table
from v2drop import METHODS

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text()


def test_the_methods_table_lists_exactly_the_methods():
    section = README.split("## Methods")[1]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == list(METHODS)


def test_the_families_table_is_made_from_the_list_that_the_tests_run_over():
    assert families_table() in README


def test_what_a_72b_model_needs():
    needed = footprint(qwen_72b()).set_index("part")
    said = f"{needed.numbers['all'] / 1e9:.1f} billion parameters, {needed.bytes['all'] / 1e9:.1f} GB in bfloat16"
    assert said in " ".join(README.split())
    assert f"{needed.bytes['cache'] / 1e6:.2f} MB of cache a token" in " ".join(README.split())


def test_the_versions_of_transformers_are_those_that_are_tested():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    (lowest,) = re.findall(r"transformers>=([\d.]+),<6", " ".join(project))
    pinned = re.search(r"^transformers==([\d.]+)$", (TOP / "constraints.txt").read_text(), re.M)[1]
    assert f"transformers from {lowest} to the newest 5.x ({pinned} when the numbers were made)" in " ".join(
        README.split()
    )


def test_the_notebooks_table_lists_exactly_the_notebooks():
    there = sorted(p.name for p in TOP.glob("notebooks/*.ipynb"))
    assert re.findall(r"^\| \[`?([\w.]+\.ipynb)`?\]", README, re.M) == there


def test_the_quick_start_prints_what_it_says(capsys, monkeypatch):
    monkeypatch.chdir(TOP)
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert sum(bool(line.strip()) for line in code.splitlines()) < 10
    console = InteractiveConsole({})  # as it is pasted: what the prompt cannot read, a reader cannot either
    for line in code.splitlines():
        console.push(line)
    expected = re.findall(r"print\(.*\)\s+# (.+)", code)
    assert expected and capsys.readouterr().out.split("\n")[:-1] == [line.strip() for line in expected]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(link):
    assert (TOP / link).exists()
