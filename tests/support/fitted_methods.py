"""Methods as the contract asks for them, by name: each with a schedule it can follow, or skipped with its reason."""

import pytest

from v2drop import METHODS
from v2drop.contract import checks


def fitted(name, left, **options):
    """The method with this schedule; one that acts before the language model takes the first count, at layer 0."""
    return checks.fitted(METHODS[name], left, **options)


def skip_unless_possible(name, family, merges_tokens=True):
    """Skip what the method declares that it cannot do."""
    if reason := checks.why_not(METHODS[name], family, merges_tokens):
        pytest.skip(f"{name} declares that it {reason}")
