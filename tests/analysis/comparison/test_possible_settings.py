"""What a model can be asked: budgets that its layers reach, methods that its tower fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison.at_one_average import fitting_methods
from analysis.comparison.budgets import reachable_budgets
from analysis.models.loaded import Loaded
from tests.support import zoo
from v2drop import METHODS, Schedule, V2Drop

SHARES = (2 / 3, 1 / 3, 2 / 9, 1 / 9)


@given(st.integers(4, 600), st.integers(4, 40))
def test_every_budget_has_a_schedule_and_only_unreachable_ones_are_left_out(n_tokens, n_layers):
    layers = V2Drop.drop_layers(n_layers)
    budgets = reachable_budgets(SHARES, layers, n_tokens, n_layers)
    assert budgets == sorted(set(budgets), reverse=True)
    for budget in budgets:
        schedule = Schedule.for_average(budget, layers, n_tokens, n_layers)
        assert schedule.average(n_tokens, n_layers) == pytest.approx(budget, abs=1)
    for budget in {round(share * n_tokens) for share in SHARES} - {0, *budgets}:
        with pytest.raises(ValueError, match="cannot be reached"):
            Schedule.for_average(budget, layers, n_tokens, n_layers)


def test_no_budget_at_all_is_refused():
    with pytest.raises(ValueError, match=r"layers \(8,\) of 10 leave 80 of 100 tokens .*got budgets of \[50, 10\]"):
        reachable_budgets((0.1, 0.5), (8,), 100, 10)


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_methods_that_fit_can_be_used(name):
    loaded = Loaded(name, zoo.model(name), zoo.processor(name))
    fitting = fitting_methods(loaded)
    assert ("fastervlm" in fitting) == (name == "llava") and "dycoke" not in fitting and "fastv" in fitting
    for kind in METHODS.values():
        if kind.needs_tower and name != "llava":
            with pytest.raises(ValueError, match="reads the vision tower"):
                kind.default(loaded.model)(loaded.model)
    for kind in map(METHODS.get, fitting):
        kind(Schedule({0 if kind.before_llm else 1: 0.75}))(loaded.model)


def test_what_is_no_loaded_model_fits_no_methods(embedded, without_type_checker):
    with pytest.raises(ValueError, match="loaded must be a model with its processor"):
        fitting_methods(embedded.model)
