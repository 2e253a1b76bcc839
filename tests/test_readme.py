"""The README says what is there."""

import re
from code import InteractiveConsole
from pathlib import Path

import pytest

from v2drop import METHODS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_methods_table_lists_exactly_the_methods():
    assert re.findall(r"^\| `(\w+)` \|", README, re.M) == list(METHODS)


def test_the_notebooks_table_lists_exactly_the_notebooks():
    there = sorted(p.name for p in Path(__file__).parents[1].glob("notebooks/*.ipynb"))
    assert re.findall(r"^\| \[`?([\w.]+\.ipynb)`?\]", README, re.M) == there


def test_the_quick_start_prints_what_it_says(capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert sum(bool(line.strip()) for line in code.splitlines()) < 10
    console = InteractiveConsole({})  # as it is pasted: what the prompt cannot read, a reader cannot either
    for line in code.splitlines():
        console.push(line)
    expected = re.findall(r"print\(.*\)\s+# (.+)", code)
    assert expected and capsys.readouterr().out.split("\n")[:-1] == [line.strip() for line in expected]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(link):
    assert (Path(__file__).parents[1] / link).exists()
