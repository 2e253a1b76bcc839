"""Dropping is masking, in every family of the zoo: windows, M-RoPE, deepstack, prefixes and pictures seen both ways."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support import zoo
from tests.support.cached_decoding import at_last, run_at
from tests.support.zoo_models import BUILD, LAYERS
from tests.support.zoo_words import BYTES
from v2drop import METHODS, Schedule
from v2drop.contract.oracle import decoder_of, oracle_run, positions_of
from v2drop.models.decoders import uses_mrope

STEPS = 3
CLOSE = {"atol": 3e-5, "rtol": 1e-5}
EVERY_MODEL = pytest.mark.parametrize("name, operator", [(name, o) for name in BUILD for o in zoo.operators(name)])
MASKING = [  # what a mask can say: no new tokens, nothing read from a tower
    name
    for name, kind in METHODS.items()
    if not (kind.merges_tokens or kind.needs_tower or kind.needs_frames or kind.before_llm)
]
EVERY_METHOD = pytest.mark.parametrize("method", ["v2drop", "random", "fastv", "pdrop"])
# Qwen3-VL adds features after layers 0 and 1; Gemma 3 attends in full at layers 1 and 4, PaliGemma 2 at 1 and 3.
SCHEDULES = [{1: 3}, {2: 0.5, 4: 0}, {1: 0.6, 2: 0.3, 3: 0}, {3: 0}, {1: 0}]
PICTURES = ["titt", "ittitt", "ttt", "titttt"]
FILMS = ["tvt", "tttvttt", "ttt"]
TEXTS = ["tvvvvvvvvvvvvtt", "tvvvvvtvvvtvvvtt", "ttt", "ttvvvvvvvvvvvvvvtttttttttt"]


def kinds_of_rows(name):
    if name in zoo.TEXT_ONLY:
        return [TEXTS]
    return [PICTURES, FILMS] if "video" in zoo.kinds(name) else [PICTURES]


def closed(method, model, data):
    """What the method does to position ids; M-RoPE's are places in a picture, which have no gaps to close."""
    return "keep" if uses_mrope(decoder_of(model)) else method.positions


def compare(method, model, data):
    """Generation through the family's own preparation of inputs, against the oracle; the trace."""
    with method(model, **data.options) as trace:
        tokens, got = zoo.greedy(model, data, STEPS)
    expected = oracle_run(model, data, trace.kept, tokens, LAYERS, closed(method, model, data))
    torch.testing.assert_close(got, expected[:, data.vision.shape[1] - 1 : -1], **CLOSE)
    return trace


def falling(first):
    """Schedules of one to three drops, from a layer on, to numbers or to shares."""
    layers = st.lists(st.integers(first, LAYERS - 1), min_size=1, max_size=3, unique=True).map(sorted)
    amounts = st.one_of(
        st.lists(kind, min_size=3, max_size=3) for kind in (st.integers(0, 8), st.sampled_from([0.0, 0.2, 0.5, 0.9]))
    )
    return st.tuples(layers, amounts).map(
        lambda drawn: Schedule(dict(zip(drawn[0], sorted(drawn[1], reverse=True), strict=False)))
    )


def check_kept(trace, data, schedule):
    counts = data.vision.sum(1)
    assert set(trace.kept) == set(schedule)
    for layer, kept in trace.kept.items():
        for row, positions in enumerate(kept):
            left = positions[positions >= 0]
            wanted = Schedule({0: schedule[layer]}).counts(int(counts[row]), 1)[0] if counts[row] else 0
            assert data.vision[row, left].all() and len(left) == len(left.unique()) == wanted


@EVERY_METHOD
@EVERY_MODEL
def test_generation_is_that_of_the_oracle(name, operator, method):
    model = zoo.model(name, operator)
    for number, rows in enumerate(kinds_of_rows(name)):
        for i, batch in enumerate([rows[:1], rows[1:]]):
            schedule = SCHEDULES[(len(name) + len(method) + number + i) % len(SCHEDULES)]
            data = zoo.prompt(name, batch, seed=i)
            trace = compare(METHODS[method](Schedule(schedule)), model, data)
            check_kept(trace, data, schedule)


@EVERY_MODEL
def test_generation_after_a_drop_of_embeddings_is_that_of_the_oracle(name, operator):
    model = zoo.model(name, operator)
    for rows in kinds_of_rows(name):
        for batch in (rows[:1], rows[1:]):
            data = zoo.prompt(name, batch)
            check_kept(compare(METHODS["random"](Schedule({0: 0.6, 2: 0.3})), model, data), data, {0: 0.6, 2: 0.3})


@EVERY_MODEL
def test_layers_that_keep_position_ids_among_others_that_do_not_are_those_of_the_oracle(name, operator):
    model = zoo.model(name, operator)
    for rows in kinds_of_rows(name):
        for schedule, keeping in (({1: 0.6, 3: 0.3}, (0, 2)), ({0: 0.6, 2: 0.3}, (1, 3)), ({0: 0.5}, (0, 4))):
            compare(METHODS["random"](Schedule(schedule), positions=keeping), model, zoo.prompt(name, rows[1:]))


@EVERY_MODEL
@hypothesis_settings(max_examples=6)
@given(draw=st.data())
def test_dropping_is_masking(name, operator, draw):
    kind = METHODS[draw.draw(st.sampled_from(MASKING))]
    positions = draw.draw(st.sampled_from(["keep", "repack", (1, 2), (0, 3, 4)]))
    method = kind(draw.draw(falling(kind.first_layer)), positions=positions)
    rows = draw.draw(st.lists(st.sampled_from(draw.draw(st.sampled_from(kinds_of_rows(name)))), min_size=1, max_size=3))
    data = zoo.prompt(name, rows, draw.draw(st.sampled_from(["left", "right"])), seed=draw.draw(st.integers(0, 9)))
    model = zoo.model(name, operator)
    tokens = torch.randint(len(BYTES), (len(rows), STEPS), generator=torch.Generator().manual_seed(0))
    with method(model, **data.options) as trace:
        got = run_at(model, data, tokens, positions_of(model, data, STEPS))
    expected = oracle_run(model, data, trace.kept, tokens, LAYERS, closed(method, model, data))
    torch.testing.assert_close(got, at_last(expected, data), **CLOSE)


@EVERY_MODEL
def test_survivors_have_their_logits_and_the_dropped_none(name, operator):
    """At the position ids that the model makes itself."""
    model = zoo.model(name, operator)
    for rows in kinds_of_rows(name):
        data = zoo.prompt(name, rows, "right")
        with METHODS["v2drop"](Schedule({1: 5, 3: 2}))(model, **data.options) as trace:
            got = model(**data.inputs).logits
        expected = oracle_run(model, data, trace.kept, torch.zeros(len(rows), 0, dtype=torch.long), LAYERS)
        there = data.present & ~data.vision
        for row, kept in enumerate(trace.kept[3]):
            there[row, kept[kept >= 0]] = True
        assert not got[there].isnan().any() and got[data.present & ~there].isnan().all()
        torch.testing.assert_close(got[there], expected[there], **CLOSE)


def test_a_loss_on_the_routes_of_every_layer_is_refused():
    """It counts tokens layer by layer, and deep layers have fewer."""
    model = zoo.model("qwen3_vl_moe")
    with METHODS["v2drop"](Schedule({1: 3}))(model):
        with pytest.raises(ValueError, match="output_router_logits=True is not supported"):
            model(**zoo.prompt("qwen3_vl_moe", ["titt"]).inputs, output_router_logits=True)


class Watching(TorchDispatchMode):
    """How many flags the largest tensor of them has, and how often the device is asked for a number."""

    most = asked = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.bool:
            self.most = max(self.most, out.numel())
        self.asked += function is torch.ops.aten._local_scalar_dense.default
        return out


@pytest.mark.parametrize("name", ["gemma3", "paligemma2", "qwen2_window", "mistral_window"])
def test_the_mask_of_a_new_token_is_one_row_and_made_without_waiting(name):
    rows = ["t" + "v" * 99 + "t"] if name in zoo.TEXT_ONLY else ["tit"]
    model, data = zoo.model(name, "eager"), zoo.prompt(name, rows)
    length = data.vision.shape[1]
    with METHODS["random"](Schedule({1: 0.9}))(model, **data.options), Watching() as watching:
        cache = model(**data.inputs, use_cache=True).past_key_values
        watching.most = watching.asked = 0
        ones = torch.ones(1, length + 1, dtype=torch.long)
        model(input_ids=ones[:, :1], attention_mask=ones, past_key_values=cache)
    assert watching.most <= length + 1 and not watching.asked
