"""Objects that hold a model: every entry says where in them the model lies."""

import re

import pytest
import torch
from torch import nn

from analysis.criteria.scores import score_tokens
from analysis.theorem.operator_norms import operator_norms
from analysis.theorem.variation_impact import variation_impact
from tests.support import zoo
from tests.support.wrapped_models import WRAPPED, Adapted, piped, wrapped
from v2drop import FastV, Schedule, V2Drop
from v2drop.contract.toys import FAMILIES, batch, toy
from v2drop.models.parts import locate
from v2drop.models.wrappers import is_whole, path_to_model

ENTRIES = {
    "locate": locate,
    "method": lambda model: V2Drop(Schedule({2: 0.5}))(model),
    "default": FastV.default,
    "operator_norms": lambda model: operator_norms(model, batch("llava", ["titt"]).inputs, [1]),
    "variation_impact": lambda model: variation_impact(model, batch("llava", ["titt"]).inputs, [1]),
    "score_tokens": lambda model: score_tokens(model, batch("llava", ["titt"]).inputs, [1]),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", WRAPPED)
def test_every_entry_says_where_the_model_lies(name, entry, without_type_checker):
    wrapper, (_, path) = wrapped(name), WRAPPED[name]
    message = f"got x, a {type(wrapper).__name__} that holds it: pass x{path}."
    with pytest.raises(ValueError, match=f"as transformers loads it; {re.escape(message)}"):
        ENTRIES[entry](wrapper)
    found = eval(f"x{path}", {"x": wrapper})
    assert is_whole(found) and locate(found).vlm_module is not None


def test_a_pipeline_holds_a_model(without_type_checker):
    with pytest.raises(ValueError, match=r"got x, a ImageTextToTextPipeline that holds it: pass x\.model\."):
        V2Drop.default(piped())


@pytest.mark.parametrize("name", zoo.BUILD)
def test_models_of_every_family_are_whole_and_found_in_wrappers(name):
    model = zoo.model(name, "eager")
    assert is_whole(model)
    assert path_to_model(nn.DataParallel(model)) == ".module" and path_to_model(Adapted(model)) == ".get_base_model()"


def test_parts_of_a_model_and_models_that_use_one_are_no_wrappers():
    model = toy("llava")
    assert not is_whole(model.model) and path_to_model(model.model) == ""
    with pytest.raises(ValueError, match="pass the model with its language-model head"):
        locate(model.model)
    other = nn.Module()
    other.config, other.language_model = type("Config", (), {"model_type": "blip"})(), toy("llama")
    with pytest.raises(ValueError, match="Module .model_type 'blip'. is not supported"):
        locate(other)


NO_MODELS = [None, "llava", 3, torch.zeros(2), object(), (), {}, FAMILIES, nn.Linear]


@pytest.mark.parametrize("thing", NO_MODELS, ids=lambda thing: type(thing).__name__)
def test_what_holds_no_model_is_refused_too(thing):
    with pytest.raises(ValueError, match=r"a model must be as transformers loads it \(loaded.model\); got"):
        locate(thing)


@pytest.mark.parametrize("name", ["Adapted", "PeftModel", "DataParallel"])
def test_what_is_named_drops_when_the_wrapper_runs(name):
    wrapper, data = wrapped(name), batch("llava", ["titt"])
    model = eval(f"x{WRAPPED[name][1]}", {"x": wrapper})
    with V2Drop(Schedule({2: 0.5}))(model) as trace:
        wrapper(**data.inputs)
        assert trace.lengths == [19, 19, 11, 11, 11]
        if name != "DataParallel":
            wrapper.generate(**data.inputs, max_new_tokens=2)
            with pytest.raises(ValueError, match="cache_implementation='static'"):
                wrapper.generate(**data.inputs, max_new_tokens=2, cache_implementation="static")
    wrapper(**data.inputs)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, on importing its compiler
def test_a_compiled_model_in_a_wrapper_is_compiled():
    for wrapper in (nn.DataParallel(torch.compile(toy("llava"))), torch.compile(toy("llava"))):
        with pytest.raises(ValueError, match="the model is compiled"):
            locate(wrapper)
