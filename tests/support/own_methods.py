"""Files with a method, and `METHODS` as it was when a test is over."""

import sys

import pytest

from v2drop import METHODS
from v2drop.methods import from_file

FILE = """
from dataclasses import dataclass
from typing import ClassVar

from v2drop import Method, Schedule
from v2drop.methods.before_llm.base import BeforeLLM


@dataclass(frozen=True)
class MyMethod(Method):
    released_schedule: ClassVar[Schedule] = Schedule({3: 0.5, 17: 0.25}, label="an example")

    def score(self, candidates):
        return SIGN * candidates.hidden.float().norm(dim=-1)
"""


def written(path, sign="1.0", more=""):
    """The file of a method that keeps the tokens with the longest states, or with the shortest."""
    path.write_text(FILE.replace("SIGN", sign) + more)
    return path


@pytest.fixture
def nothing_added(monkeypatch):
    """What a test adds is gone behind it."""
    known, path = dict(METHODS), [*sys.path]
    monkeypatch.setattr(from_file, "_ADDED", {})
    yield
    METHODS.clear()
    METHODS.update(known)
    sys.path[:] = path
