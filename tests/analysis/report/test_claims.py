"""The ledger has one source, and its numbers are those that the notebooks print."""

import re
from pathlib import Path

import nbformat
import pytest

from analysis.report.claims import CLAIMS, MODELS, ledger

TOP = Path(__file__).parents[3]
INTERVAL = re.compile(r"(-?\d+\.\d+) \[(-?\d+\.\d+), (-?\d+\.\d+)\]")
MEASURED = {
    f"{claim.name}, {model}": found
    for claim in CLAIMS
    for model, found in zip(MODELS, claim.verdicts, strict=True)
    if found.notebook
}


def printed(name):
    """What a committed notebook printed, as one text."""
    cells = nbformat.read(TOP / "notebooks" / f"{name}.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_the_readme_shows_the_ledger():
    assert ledger() in (TOP / "README.md").read_text()


def test_claims_are_numbered_and_say_what_is_open():
    assert [claim.name for claim in CLAIMS] == [f"C{i}" for i in range(1, 1 + len(CLAIMS))]
    for claim in CLAIMS:
        for found in claim.verdicts:
            assert (found.kind == "open") == found.verdict.startswith("not measured")
            assert bool(found.number) == (found.kind != "open")


@pytest.mark.parametrize("found", MEASURED.values(), ids=list(MEASURED))
def test_intervals_are_printed_by_the_notebook(found):
    there = {tuple(round(float(x), 2) for x in each) for each in INTERVAL.findall(printed(found.notebook))}
    named = INTERVAL.findall(found.number)
    assert named and all(tuple(map(float, each)) in there for each in named)
