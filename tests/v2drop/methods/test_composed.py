"""Composed methods keep every promise of a method, and each part does what it does alone."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from analysis.scenes.question_seeds import has_seed, with_question_seeds
from analysis.scenes.questions import sample
from tests.support.cached_decoding import at_last
from v2drop import (
    DART,
    Composed,
    DivPrune,
    FastV,
    MustDrop,
    PDrop,
    Random,
    Schedule,
    SparseVLM,
    SparseVLMPlus,
    TransPrune,
    Uniform,
    V2Drop,
    VisionZip,
)
from v2drop.contract.oracle import oracle_run, run_with_cache
from v2drop.contract.toys import LAYERS, batch, toy

TEXTS = ["tvvvvvvttt", "vvvvvvvvvvvvtt", "tvtvtvvvvvvvvvt", "ttttt"]
PICTURES = ["titttt", "tit", "tttt"]
MASKING = {  # what a mask can say
    "attention twice": {1: FastV, 2: partial(PDrop, positions="keep")},
    "variation, random tail": {1: V2Drop, 3: Random},
    "spacing, variation": {0: Uniform, 2: partial(V2Drop, metric="cosine")},
    "text raters, transitions": {1: SparseVLMPlus, 3: partial(TransPrune, positions="repack")},
    "pivots, attention, random": {1: DART, 2: FastV, 3: Random},
}
SCHEDULE = Schedule({0: 0.9, 1: 0.7, 2: 0.5, 3: 0.3})
EVERY = pytest.mark.parametrize("name", MASKING)
EVERY_OPERATOR = pytest.mark.parametrize("operator", ["eager", "sdpa"])


def composed(methods, **options):
    first = min(methods)
    left = {layer: share for layer, share in SCHEDULE.left.items() if layer >= first}
    return Composed(Schedule(left), methods, **options)


@EVERY_OPERATOR
@EVERY
@pytest.mark.parametrize("positions", ["keep", "repack", (0, 2)])
def test_dropping_is_masking(name, operator, positions):
    data, model = batch("llama", TEXTS, "left"), toy("llama", operator)
    tokens = torch.randint(4, 64, (len(TEXTS), 4), generator=torch.Generator().manual_seed(0))
    with composed(MASKING[name], positions=positions)(model, **data.options) as trace:
        got = run_with_cache(model, data, tokens)
    expected = oracle_run(model, data, trace.kept, tokens, LAYERS, positions)
    torch.testing.assert_close(got, at_last(expected, data), atol=1e-5, rtol=1e-5)


@EVERY
def test_each_drop_is_that_of_its_method_alone(name):
    """The first is, as nothing was dropped before; the others are, of a method that reads the states alone."""
    methods = MASKING[name]
    data, model = batch("llama", TEXTS), toy("llama")
    with composed(methods, positions="keep")(model, **data.options) as trace:
        model(**data.inputs)
    first = min(methods)
    with methods[first](Schedule({first: SCHEDULE.left[first]}))(model, **data.options) as alone:
        model(**data.inputs)
    assert torch.equal(trace.kept[first], alone.kept[first])
    torch.testing.assert_close(trace.scores[first], alone.scores[first], equal_nan=True)


@EVERY
def test_one_schedule_is_one_budget_and_one_trace(name):
    data, model = batch("llama", ["tvvvvvvvvvvvvvvvvvvvvtt"]), toy("llama")
    method = composed(MASKING[name], positions="keep")
    with method(model, **data.options) as trace:
        model(**data.inputs)
    assert [row[0] for row in trace.vision_tokens] == method.schedule.counts(20, LAYERS)
    assert set(trace.kept) == set(method.schedule.layers)


@EVERY
def test_keeping_everything_is_the_plain_model_bit_for_bit(name):
    data, model = batch("llama", TEXTS), toy("llama")
    layers = [layer for layer in range(LAYERS) if layer >= min(MASKING[name])]
    everything = Composed(Schedule(dict.fromkeys(layers, 1.0)), MASKING[name], positions="keep")
    plain = model(**data.inputs).logits
    with everything(model, **data.options):
        assert torch.equal(model(**data.inputs).logits, plain)
    assert torch.equal(model(**data.inputs).logits, plain)


def test_before_the_language_model_and_inside_it():
    data, model = batch("llava", PICTURES), toy("llava")
    for first in (VisionZip, DivPrune):
        method = Composed(Schedule({0: 9, 2: 4}), {0: first, 2: FastV}, positions="repack")
        with method(model, **data.options) as trace:
            out = model.generate(**data.inputs, max_new_tokens=3, do_sample=False)
        with first(Schedule({0: 9}))(model, **data.options) as alone:
            model(**data.inputs)
        assert torch.equal(trace.kept[0], alone.kept[0]) and out.shape[1] == data.vision.shape[1] + 3
        assert trace.vision_tokens[0][0] == 9 and trace.vision_tokens[-1][0] == 4
        assert (
            method.needs_tower == first.needs_tower
            and method.needs_attention
            and method.merges_tokens == first.merges_tokens
        )


def test_parts_with_one_rule_for_position_ids_need_no_other():
    assert Composed(SCHEDULE, {0: Uniform, 2: FastV}).positions == "keep"
    assert Composed(Schedule({1: 0.5, 2: 0.2}), {1: PDrop, 2: TransPrune}).positions == "repack"
    with pytest.raises(ValueError, match="positions must be given where the methods differ.*FastV keep, PDrop repack"):
        Composed(Schedule({1: 0.5, 2: 0.2}), {1: FastV, 2: PDrop})


def test_a_method_with_seeds_in_it_draws_for_each_question():
    method = Composed(SCHEDULE, {0: Uniform, 2: Random})
    assert has_seed(method) and not has_seed(Composed(SCHEDULE, {0: Uniform, 2: FastV}))
    drawn = with_question_seeds(method, sample(2), 1)
    assert drawn.at(3).seed == with_question_seeds(Random(SCHEDULE), sample(2), 1).seed
    assert drawn.at(0) == method.at(0) and drawn.positions == method.positions


def test_budgets_and_replacing():
    method = Composed.for_average(288, 576, 32, methods={2: FastV, 16: Random})
    assert method.schedule == Schedule.for_average(288, (2, 16), 576, 32)
    assert replace(method, protect=(3,)).methods == method.methods
    assert Composed(method.schedule, ((2, FastV), (16, Random))) == method
    later = replace(method, schedule=Schedule({2: 0.4, 16: 0.1}))
    assert later == Composed(Schedule({2: 0.4, 16: 0.1}), {2: FastV, 16: Random})
    with pytest.raises(ValueError, match="no released schedule"):
        Composed.default(toy("llama"), methods={1: FastV})
    with pytest.raises(ValueError, match="no released schedule"):
        Composed.drop_layers(32)


@pytest.mark.parametrize(
    ("left", "methods", "message"),
    [
        ({1: 3}, {}, "must map layers to methods"),
        ({1: 3}, FastV, "must map layers to methods"),
        ({1: 3}, {"1": FastV}, "must map layers to methods"),
        ({1: 3, 2: 2}, {2: FastV}, "must start at the first drop, layer 1"),
        ({1: 3}, {1: FastV, 2: Random}, "must have a drop of the schedule"),
        ({1: 3}, {1: lambda schedule: schedule}, "must make a method"),
        ({1: 3}, {1: FastV(Schedule({2: 3}))}, "must make a method"),
        ({1: 3, 2: 2}, {1: partial(FastV, protect="sinks"), 2: Random}, "protect must be given to Composed itself"),
        ({1: 1.0, 2: 1.0}, {1: MustDrop, 2: FastV}, "must not trim caches"),
        ({1: 3, 2: 2}, {1: SparseVLM, 2: SparseVLMPlus}, "one of the methods at most"),
        ({0: 3, 2: 2}, {0: FastV, 2: Random}, "layers from 1 on"),
    ],
)
def test_what_cannot_be_composed_is_refused(left, methods, message, without_type_checker):
    with pytest.raises(ValueError, match=message):
        Composed(Schedule(left), methods)


def test_a_model_that_a_part_cannot_work_on_is_refused():
    with pytest.raises(ValueError, match="reads the vision tower"):
        Composed(Schedule({0: 3, 2: 2}), {0: VisionZip, 2: FastV}, positions="keep")(toy("llama"), torch.ones(1, 4))
