"""Several choices of drop layers: the answers are those at each alone, budgets are met, the best and worst by hand."""

from functools import partial

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.comparison.layer_choices import accuracy_over_layers, best_and_worst, drop_layer_choices
from v2drop import Random, Schedule, V2Drop

MAKERS = {"v2drop": V2Drop, "random": partial(Random, seed=3)}


@pytest.fixture(scope="module")
def questions():
    """Questions about pictures of one size."""
    pairs = analysis.sample(20)
    return [pair for pair in pairs if pair[0].image.shape == pairs[0][0].image.shape][:3]


@pytest.fixture(scope="module")
def choices(embedded):
    return list(drop_layer_choices(embedded.n_layers, 1 / 2).values())[:2]


def test_answers_are_those_at_each_choice_alone(embedded, questions, choices):
    tokens = len(embedded.vision_positions(embedded.inputs([questions[0][0].image], [questions[0][1].text]))[0])
    budgets = [tokens // 2, tokens * 2 // 3]
    found = accuracy_over_layers(embedded, questions, MAKERS, budgets, choices, max_new_tokens=2)
    assert (found[found.method == analysis.NOTHING_DROPPED].layers == "none").all()
    texts = [", ".join(map(str, layers)) for layers in choices]
    assert list(found.layers.unique()) == ["none", *texts]
    for layers, text in zip(choices, texts, strict=True):
        alone = analysis.accuracy_over_budgets(embedded, questions, MAKERS, budgets, layers, max_new_tokens=2)
        here = found[found.layers.isin(["none", text])].drop(columns="layers").reset_index(drop=True)
        pd.testing.assert_frame_equal(here, alone)
    assert ((found.average_tokens - found.budget).abs() <= 1).all()


def test_what_is_no_choice_of_layers_is_refused(embedded, questions, without_type_checker):
    for wrong in ((1, 2, 3), 1, [], "1, 2", {"early": (1, 2)}, [(1, 2), (2, 1)], [(1, 99)], [(1.5,)], [()]):
        with pytest.raises(ValueError, match="layer_choices must be .*; got"):
            accuracy_over_layers(embedded, questions, MAKERS, 50, wrong)
    with pytest.raises(ValueError, match="cannot be reached by dropping at layers"):
        accuracy_over_layers(embedded, questions, MAKERS, 1, [(embedded.n_layers - 1,)])
    with pytest.raises(ValueError, match="makers must not hold 'nothing dropped'"):
        accuracy_over_layers(embedded, questions, {"nothing dropped": V2Drop}, 50, [(1, 2)])


@given(st.integers(4, 80), st.floats(0, 1), st.integers(1, 600))
def test_every_choice_reaches_the_share(n_layers, share, n_tokens):
    if share * n_layers <= 1:
        with pytest.raises(ValueError, match=f"share must be more than 1 / {n_layers}"):
            drop_layer_choices(n_layers, share)
        return
    choices = drop_layer_choices(n_layers, share)
    released = V2Drop.drop_layers(n_layers)
    assert choices.get("released") == (released if released[0] < share * n_layers else None)
    assert len(set(choices.values())) == len(choices)
    for layers in choices.values():
        assert list(layers) == sorted(set(layers)) and 1 <= layers[0] and layers[-1] < n_layers
        schedule = Schedule.for_average(share * n_tokens, layers, n_tokens, n_layers)
        assert schedule.average(n_tokens, n_layers) == pytest.approx(share * n_tokens, abs=1)


def differences():
    rows = [("a", 72, "1, 2", -0.3), ("a", 72, "3, 4", -0.1), ("a", 72, "5, 6", -0.1), ("b", 72, "1, 2", 0.2)]
    rows += [("b", 72, "3, 4", 0.1), ("a", 48, "1, 2", 0.0)]
    return pd.DataFrame(rows, columns=["method", "budget", "layers", "mean"])


def test_the_best_and_the_worst_by_hand():
    found = best_and_worst(differences())
    expected = [
        ("a", 72, "3, 4", -0.1, 3, "best"),
        ("a", 72, "1, 2", -0.3, 3, "worst"),
        ("b", 72, "1, 2", 0.2, 2, "best"),
        ("b", 72, "3, 4", 0.1, 2, "worst"),
        ("a", 48, "1, 2", 0.0, 1, "best"),
        ("a", 48, "1, 2", 0.0, 1, "worst"),
    ]
    assert [tuple(row) for row in found.itertuples(index=False)] == expected
    assert list(found.columns) == ["method", "budget", "layers", "mean", "n_choices", "choice"]


def test_choices_that_are_not_told_apart_are_refused():
    with pytest.raises(ValueError, match="method, layers must be there once; got 1 again"):
        best_and_worst(differences(), ["method"])
    assert len(best_and_worst(differences().query("budget == 72"), ["method"])) == 4


def test_a_headline_is_one_filter_and_two_calls():
    """V2Drop is wrong where it counts, and on one question more at one choice of layers; random is never wrong."""
    rows = [
        (method, 72, layers, question, "how-many" if question > 2 else "what", right)
        for layers in ("1, 2", "3, 4")
        for method in ("v2drop", "random")
        for question in range(5)
        for right in [not (method == "v2drop" and (question > 2 or (layers == "1, 2" and question == 0)))]
    ]
    frame = pd.DataFrame(rows, columns=["method", "budget", "layers", "question", "kind", "right"])
    for kept, best, worst in ((frame, -2 / 5, -3 / 5), (frame[frame.kind != "how-many"], 0, -1 / 3)):
        gain = analysis.paired_difference(kept, "random", ["layers", "budget"])
        found = best_and_worst(gain).set_index("choice")
        assert found["mean"].to_dict() == pytest.approx({"best": best, "worst": worst})
        assert found.layers.to_dict() == {"best": "3, 4", "worst": "1, 2"}
