"""The table of families is the list of families, and the way to add one is what was done for those that are there."""

import re
from pathlib import Path

from analysis.models.prompts import chat_prompts
from analysis.report.families_table import TAKES, families_table
from v2drop.models.families import FAMILIES

TEXT = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()


def test_one_row_a_family_with_what_it_takes():
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", families_table(), re.M)[1:])
    assert list(rows) == list(FAMILIES)
    for name, family in FAMILIES.items():
        assert {kind for kind, words in TAKES.items() if re.search(rf"\b{words}\b", rows[name])} >= set(family.inputs)
        assert family.example in rows[name] and family.remarks in rows[name]
        assert ("a video," in rows[name].replace(" |", ",")) == ("video" in family.inputs)


def test_limits_name_families_that_there_are():
    limits = chat_prompts.ALWAYS_A_PICTURE + chat_prompts.PICTURES_OR_VIDEOS + chat_prompts.EQUAL_VIDEOS
    assert set(limits) | set(chat_prompts.PROMPTS_WITHOUT_TEMPLATE) <= set(FAMILIES)
    assert all("video" in FAMILIES[name].inputs for name in chat_prompts.PICTURES_OR_VIDEOS + chat_prompts.EQUAL_VIDEOS)


def test_the_worked_example_is_the_entry(monkeypatch):
    families = {}
    monkeypatch.setattr("v2drop.models.families.FAMILIES", families)
    exec(re.search(r"## A new family.*?```python\n(.*?)```", TEXT, re.S)[1], {})
    assert families == {name: FAMILIES[name] for name in families} and families
