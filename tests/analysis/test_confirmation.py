"""The confirmatory seeds stand in one place, are all different, and nothing else has used them."""

import json
import re
from pathlib import Path

import pytest

from analysis.confirmation import CONFIRMATORY_SEEDS, confirmatory_seed
from v2drop.arguments import LARGEST_SEED

TOP = Path(__file__).parents[2]
HOME = TOP / "analysis" / "confirmation.py"


def written(file):
    """The code and prose of a file; of a notebook without its outputs, which are full of digits."""
    text = file.read_text()
    return "\n".join("".join(c["source"]) for c in json.loads(text)["cells"]) if file.suffix == ".ipynb" else text


def test_seeds_are_apart_from_each_other_and_from_those_of_exploration():
    """A method's draws take the seeds that follow, one a draw."""
    seeds = sorted(CONFIRMATORY_SEEDS.values())
    assert seeds[0] > 1000 and seeds[-1] < LARGEST_SEED - 1000
    assert all(later - earlier > 1000 for earlier, later in zip(seeds, seeds[1:], strict=False))
    assert set(CONFIRMATORY_SEEDS) <= {file.stem for file in (TOP / "notebooks").glob("*.ipynb")}


def test_no_other_file_writes_them():
    numbers = "|".join("_?".join(f"{seed:,}".split(",")) for seed in CONFIRMATORY_SEEDS.values())
    pattern = re.compile(rf"(?<![\d.])(?:{numbers})(?!\d)")
    assert len(pattern.findall(HOME.read_text())) == len(CONFIRMATORY_SEEDS)
    rooms = [TOP / room for room in ("analysis", "tests", "notebooks")]  # data/ tells how it was made
    files = [file for room in rooms for file in room.rglob("*")]
    texts = [file for file in files if file.suffix in {".py", ".ipynb", ".md"} and file != HOME]
    assert len(texts) > 200 and [file.name for file in texts if pattern.search(written(file))] == []


def test_other_notebooks_have_none():
    with pytest.raises(ValueError, match="notebook must be one of '01_quickstart', .*; got '06_your_model'"):
        confirmatory_seed("06_your_model")
