"""What every method promises on every model family; a new entry of METHODS is tested with no further edit."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS, Random, Schedule, V2Drop
from v2drop.contract import candidates_of, checks, contract_of
from v2drop.contract.checks import LLAVA_ROWS, STEPS, TEXT_ROWS
from v2drop.contract.toys import FAMILIES, LAYERS, batch, toy

EVERY_METHOD = pytest.mark.parametrize("name", METHODS)
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
EVERY_OPERATOR = pytest.mark.parametrize("operator", ["eager", "sdpa"])
# What happens to position ids: the method's own way, another, or layers that keep them among others that do not.
POSITIONS = st.one_of(
    st.just({}),
    st.sampled_from([{"positions": "keep"}, {"positions": "repack"}]),
    st.sets(st.integers(0, LAYERS - 1), max_size=LAYERS).map(lambda layers: {"positions": tuple(layers)}),
)


def rows_for(family):
    return st.lists(st.sampled_from(LLAVA_ROWS if family == "llava" else TEXT_ROWS), min_size=1, max_size=3)


def schedules(method):
    if method.before_llm:
        return st.one_of(st.integers(0, 12), st.floats(0, 1)).map(lambda left: Schedule({0: left}))
    layers = st.lists(st.integers(method.first_layer, LAYERS - 1), min_size=1, max_size=3, unique=True).map(sorted)

    def falling(layers):
        amounts = st.one_of(
            st.lists(kind, min_size=len(layers), max_size=len(layers)) for kind in (st.integers(0, 12), st.floats(0, 1))
        )
        return amounts.map(lambda left: Schedule(dict(zip(layers, sorted(left, reverse=True), strict=True))))

    return layers.flatmap(falling)


@EVERY_OPERATOR
@EVERY_FAMILY
@EVERY_METHOD
@hypothesis_settings(max_examples=12)
@given(draw=st.data())
def test_dropping_is_masking(name, family, operator, draw):
    skip_unless_possible(name, family, merges_tokens=False)
    method = METHODS[name](draw.draw(schedules(METHODS[name])), **draw.draw(POSITIONS))
    rows, side = draw.draw(rows_for(family)), draw.draw(st.sampled_from(["left", "right"]))
    data = batch(family, rows, side, seed=draw.draw(st.integers(0, 9)))
    checks.dropping_is_masking(method, toy(family, operator), data, torch.randint(4, 64, (len(rows), STEPS)))


@EVERY_OPERATOR
@EVERY_FAMILY
@EVERY_METHOD
def test_survivors_keep_their_logits_and_the_dropped_have_none(name, family, operator):
    skip_unless_possible(name, family, merges_tokens=False)
    checks.survivors_keep_their_logits_and_the_dropped_have_none(METHODS[name], family, operator)


@EVERY_OPERATOR
@EVERY_FAMILY
@EVERY_METHOD
@pytest.mark.parametrize("side", ["left", "right"])
def test_keeping_everything_is_the_plain_model_bit_for_bit(name, family, operator, side):
    skip_unless_possible(name, family)
    checks.keeping_everything_is_the_plain_model(METHODS[name], family, operator, side)


@EVERY_FAMILY
@EVERY_METHOD
def test_a_batch_equals_its_rows_alone(name, family):
    skip_unless_possible(name, family)
    checks.a_batch_equals_its_rows_alone(METHODS[name], family)


@EVERY_METHOD
def test_scores_follow_a_permutation_of_the_tokens(name):
    if METHODS[name].uses_position:
        pytest.skip(f"{name} declares that it uses position")
    checks.scores_follow_a_permutation_of_the_tokens(METHODS[name])


@EVERY_FAMILY
@EVERY_METHOD
def test_the_same_prompt_scores_the_same_again(name, family):
    skip_unless_possible(name, family)
    checks.the_same_prompt_scores_the_same_again(METHODS[name], family)


@EVERY_METHOD
def test_permuting_vision_tokens_of_a_tokenwise_model_permutes_what_is_kept(name):
    if METHODS[name].uses_position:
        pytest.skip(f"{name} declares that it uses position")
    checks.permuting_vision_tokens_permutes_what_is_kept(METHODS[name])


@EVERY_FAMILY
@EVERY_METHOD
def test_as_many_are_left_as_the_schedule_says(name, family):
    skip_unless_possible(name, family)
    if METHODS[name].needs_frames:
        pytest.skip(f"{name} declares that it compares frames, and never leaves less than the whole ones")
    checks.as_many_are_left_as_the_schedule_says(METHODS[name], family)


@EVERY_METHOD
def test_refuses_what_is_no_schedule(name):
    method = fitted(name, {3: 1})
    object.__setattr__(method, "schedule", {3: 1})  # the tests' own type check would refuse it at the constructor
    with pytest.raises(ValueError, match=r"must be a Schedule.*got \{3: 1\}"):
        method.__post_init__()


class Ordered(V2Drop):
    """Says that it does not use position, and does."""

    def score(self, candidates):
        return candidates.vision_index.float()


class Mixed(Random):
    """Its scores depend on the other rows of a batch."""

    def score(self, candidates):
        return super().score(candidates) * candidates.hidden.float().sum()


class Forgetful(V2Drop):
    """Its scores differ from run to run."""

    def score(self, candidates):
        return torch.rand(candidates.valid.shape)


class Generous(V2Drop):
    """Keeps one more than the schedule says."""

    def choose(self, candidates, scores):
        more = [min(a + 1, b) for a, b in zip(candidates.n_keep, candidates.n_candidates, strict=True)]
        object.__setattr__(candidates, "n_keep", more)
        return super().choose(candidates, scores)


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Ordered, {"scores follow a permutation of the tokens", "permuting vision tokens permutes what is kept"}),
        (Mixed, {"a batch equals its rows alone"}),
        (Forgetful, {"the same prompt scores the same again"}),
        (Generous, {"as many are left as the schedule says"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_promise_is_found(kind, broken):
    found = {str(promise).split(",")[0] for promise in contract_of(kind) if breaks(promise)}
    assert broken <= found


def breaks(promise):
    try:
        promise.check()
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", ["random", "v2drop", "tome", "dycoke", "fastervlm"])
def test_the_contract_as_a_list_has_what_a_method_does_not_declare_impossible(name):
    found = [str(promise) for promise in contract_of(METHODS[name])]
    assert len(set(found)) == len(found) and all(re.match(r"[a-z ]+(, \w+)*$", each) for each in found)
    assert any(", llama" in each for each in found) == (not checks.why_not(METHODS[name], "llama"))
    assert any("masking" in each for each in found) != METHODS[name].merges_tokens


def test_the_contract_as_a_list_holds():
    for promise in contract_of(V2Drop):
        promise.check()


def test_candidates_by_hand():
    candidates = candidates_of(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2))
    assert V2Drop(Schedule({2: 1})).score(candidates).tolist() == [[5.0, 1.0]]
