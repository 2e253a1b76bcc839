"""Methods as the contract asks for them: each with a schedule it can follow, or skipped with the reason it declares."""

import pytest

from v2drop import METHODS, Schedule


def fitted(name, left, **options):
    """The method with this schedule; one that acts before the language model takes the first count, at layer 0."""
    kind = METHODS[name]
    return kind(Schedule({0: next(iter(left.values()))} if kind.before_llm else left), **options)


def skip_unless_possible(name, family, merges_tokens=True):
    """Skip what the method declares that it cannot do."""
    if METHODS[name].needs_tower and family != "llava":
        pytest.skip(f"{name} declares that it needs a vision tower")
    if METHODS[name].needs_frames and family != "llava":
        pytest.skip(f"{name} declares that it compares pictures, which are not known here: see its own tests")
    if not merges_tokens and METHODS[name].merges_tokens:
        pytest.skip(f"{name} declares that it makes new tokens, which no mask does: see its own reference")
