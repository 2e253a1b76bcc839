"""The worked example of CONTRIBUTING is a method: the contract holds for it as it stands there."""

import re
import sys
from pathlib import Path

import pytest
import torch

from v2drop import METHODS, Schedule
from v2drop.contract import contract_of
from v2drop.contract.toys import LAYERS, batch, toy

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


@pytest.fixture
def example(monkeypatch, tmp_path):
    """The example as a file of its own, imported and entered in METHODS."""
    (tmp_path / "long_example.py").write_text(re.search(r"^```python\n(.*?)^```", TEXT, re.S | re.M)[1])
    monkeypatch.syspath_prepend(tmp_path)
    import long_example

    monkeypatch.setitem(METHODS, "long", long_example.Long)
    yield long_example.Long
    del sys.modules["long_example"]


def test_the_contract_holds_for_the_example(example):
    for promise in contract_of(example):
        promise.check()


def test_the_example_scores_what_it_says(example):
    data = batch("llama", ["tvvvvvvtt"])
    states = toy("llama")(**data.inputs, output_hidden_states=True).hidden_states
    with example(Schedule({2: 3}))(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs)
    norms = states[2][0, data.vision[0]].double().square().sum(-1).sqrt()
    torch.testing.assert_close(trace.scores[2][0].double(), norms, rtol=1e-5, atol=1e-6)
    assert example.for_average(4, 6, LAYERS).schedule.layers == (1, 3)


def test_files_and_methods_that_are_named_exist():
    top = Path(__file__).parents[1]
    methods = re.findall(r"`((?:in_llm|before_llm)/\w+\.py)`", TEXT)
    paths = re.findall(r"`((?:v2drop|analysis|tests)/[\w/]+(?:\.py|/))`", TEXT)
    assert len(methods) >= 6 and all((top / "v2drop" / "methods" / name).exists() for name in methods)
    assert len(paths) >= 12 and all((top / name).exists() for name in paths)
