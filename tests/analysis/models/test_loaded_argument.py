"""Every function of `analysis` that takes a loaded checkpoint says so when it is given something else."""

import inspect

import pytest

import analysis
from analysis.group_impact.sweep import run_sweep as run_group_sweep
from analysis.models.loaded import Loaded
from analysis.theorem.sweep import run_sweep
from analysis.training.evaluate import evaluate, greedy_replies
from tests.support.wrapped_models import piped
from v2drop.contract.toys import toy
from v2drop.methods.base import Method

GIVEN = {"questions": analysis.sample(1), "methods": {}, "makers": {}}


def public_functions(first):
    """The functions that `analysis` exports, and those behind its commands, whose parameter `first` is required."""
    exported = [getattr(analysis, name) for name in analysis.__all__]
    behind_commands = (evaluate, greedy_replies, run_sweep, run_group_sweep)
    functions = [each for each in (*exported, *behind_commands) if inspect.isfunction(each)]
    return [each for each in functions if first in inspect.signature(each).parameters]


def call(function, **given):
    """Call a function with something for every parameter that it requires; nothing but `given` is looked at first."""
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind < 4]
    needed = [p.name for p in needed if p.kind is not p.VAR_KEYWORD]
    return function(**{name: GIVEN.get(name) for name in needed} | given)


@pytest.mark.parametrize("function", public_functions("loaded"), ids=lambda function: function.__name__)
def test_what_is_not_loaded_is_refused(function, without_type_checker):
    for wrong in (toy("llava"), piped(), "llava-hf/llava-1.5-7b-hf", None, Loaded, (toy("llava"), None)):
        message = f"loaded must be a model with its processor, as analysis.load gives it; got a {type(wrong).__name__}"
        with pytest.raises(ValueError, match=message):
            call(function, loaded=wrong)


@pytest.mark.parametrize("function", public_functions("model"), ids=lambda function: function.__name__)
def test_a_loaded_checkpoint_is_no_model(function, without_type_checker):
    with pytest.raises(ValueError, match=r"got x, a Loaded that holds it: pass x\.model"):
        call(function, model=Loaded("mine", toy("llava"), None))


def test_the_lists_are_not_empty():
    assert len(public_functions("loaded")) >= 10 and len(public_functions("model")) == 4
    assert issubclass(analysis.ScoresFromTable, Method)
