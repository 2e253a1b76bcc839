"""What every method promises on every model family; a new entry of METHODS is tested with no further edit."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.cached_decoding import run_with_cache
from tests.support.fitted_methods import fitted, skip_unless_possible
from tests.support.oracle import oracle_run
from tests.support.toys import FAMILIES, LAYERS, batch, toy
from v2drop import METHODS, Schedule
from v2drop.engine.contract import Candidates

EVERY_METHOD = pytest.mark.parametrize("name", METHODS)
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
EVERY_OPERATOR = pytest.mark.parametrize("operator", ["eager", "sdpa"])
LLAVA_ROWS = ["titttt", "tit", "tttt", "ittittt", "i", "tti"]
TEXT_ROWS = ["tvvvvvvttt", "vvvvvvvvtt", "tvtvtvvvvvvvvvt", "ttttt", "vvvv", "ttvvvvvvvvvvvvvvvvvvvt"]
STEPS = 8
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
    model = toy(family, operator)
    tokens = torch.randint(4, 64, (len(rows), STEPS))
    with method(model, **data.options) as trace:
        got = run_with_cache(model, data, tokens)
    logits = oracle_run(model, data, trace.kept, tokens, LAYERS, method.positions)
    length = data.present.shape[1]
    last = torch.stack([logits[row, column] for row, column in enumerate(data.last)])
    expected = torch.cat([last[:, None], logits[:, length:]], 1)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@EVERY_OPERATOR
@EVERY_FAMILY
@EVERY_METHOD
def test_survivors_keep_their_logits_and_the_dropped_have_none(name, family, operator):
    skip_unless_possible(name, family, merges_tokens=False)
    data = batch(family, ["titttt", "tit"] if family == "llava" else TEXT_ROWS[:2], "right")
    model, method = toy(family, operator), fitted(name, {1: 5, 3: 2})
    with method(model, **data.options) as trace:
        got = model(**data.inputs, position_ids=data.positions).logits
    none = torch.zeros(len(data.vision), 0, dtype=torch.long)
    expected = oracle_run(model, data, trace.kept, none, LAYERS, METHODS[name].positions)
    for row in range(len(got)):
        there = (data.present[row] & ~data.vision[row]).nonzero().flatten().tolist()
        there += trace.kept[max(trace.kept)][row].tolist()
        torch.testing.assert_close(got[row, there], expected[row, there], atol=1e-5, rtol=1e-5)
        gone = set(data.vision[row].nonzero().flatten().tolist()) - set(there)
        assert gone or not METHODS[name].exact_count
        assert got[row, sorted(gone)].isnan().all()


@EVERY_OPERATOR
@EVERY_FAMILY
@EVERY_METHOD
@pytest.mark.parametrize("side", ["left", "right"])
def test_keeping_everything_is_the_plain_model_bit_for_bit(name, family, operator, side):
    skip_unless_possible(name, family)
    data = batch(family, ["titttt", "ttt"] if family == "llava" else TEXT_ROWS[:3], side)
    model, method = toy(family, operator), fitted(name, {1: 1.0, 3: 1000})
    plain = model(**data.inputs)
    with method(model, **data.options) as trace:
        kept = model(**data.inputs)
    assert torch.equal(plain.logits, kept.logits)
    assert trace.kept[max(trace.kept)].shape[1] == max(data.vision.sum(1))


@EVERY_FAMILY
@EVERY_METHOD
def test_a_batch_equals_its_rows_alone(name, family):
    skip_unless_possible(name, family)
    rows = LLAVA_ROWS[:4] if family == "llava" else TEXT_ROWS[:4]
    model, method = toy(family), fitted(name, {1: 0.5, 3: 0.2})
    data = batch(family, rows)
    with method(model, **data.options) as trace:
        together = model(**data.inputs, position_ids=data.positions).logits[:, -1]
    kept = {layer: left.tolist() for layer, left in trace.kept.items()}
    image = 0
    for row, pattern in enumerate(rows):
        there = data.present[row]
        inputs = {key: data.inputs[key][row : row + 1, there] for key in ("input_ids", "attention_mask")}
        if n_images := pattern.count("i"):
            inputs["pixel_values"] = data.inputs["pixel_values"][image : image + n_images]
            image += n_images
        options = {key: mask[row : row + 1, there] for key, mask in data.options.items()}
        with method(model, **options) as alone:
            logits = model(**inputs).logits[:, -1]
        torch.testing.assert_close(logits[0], together[row], atol=1e-5, rtol=1e-5)
        shift = len(there) - int(there.sum())
        for layer, left in alone.kept.items():
            found = [p - shift if p >= 0 else p for p in kept[layer][row]]
            assert left[0].tolist() == found[: left.shape[1]] and set(found[left.shape[1] :]) <= {-1}


def candidates(n=12, seed=0):
    torch.manual_seed(seed)
    hidden, previous = torch.randn(2, 2, n, 8).unbind()
    rank = torch.arange(n).expand(2, n)
    return Candidates(2, hidden, previous, rank, torch.ones(2, n, dtype=torch.bool), [n, n], [n, n], [4, 4])


@EVERY_METHOD
def test_scores_follow_a_permutation_of_the_tokens(name):
    method = fitted(name, {2: 4})
    if method.uses_position:
        pytest.skip(f"{name} declares that it uses position")
    seen, order = candidates(), torch.randperm(12)
    moved = Candidates(
        2,
        seen.hidden[:, order],
        seen.previous[:, order],
        *(getattr(seen, f) for f in ("vision_index", "valid", "n_prompt_tokens", "n_candidates", "n_keep")),
    )
    torch.testing.assert_close(method.score(moved), method.score(seen)[:, order])


@EVERY_FAMILY
@EVERY_METHOD
def test_the_same_prompt_scores_the_same_again(name, family):
    skip_unless_possible(name, family)
    data = batch(family, ["titttt", "tit"] if family == "llava" else TEXT_ROWS[:2])
    method, found = fitted(name, {1: 5, 3: 2}), []
    for _ in range(2):
        with method(toy(family), **data.options) as trace:
            toy(family)(**data.inputs)
        found.append(trace.scores)
    assert all(x[~x.isnan()].isfinite().all() for x in found[0].values())
    assert all(torch.equal(found[0][layer], found[1][layer]) or found[0][layer].isnan().any() for layer in found[0])


@EVERY_METHOD
def test_permuting_vision_tokens_of_a_tokenwise_model_permutes_what_is_kept(name):
    if METHODS[name].uses_position:
        pytest.skip(f"{name} declares that it uses position")
    torch.manual_seed(0)
    model = FAMILIES["llama"]().eval().requires_grad_(False)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()  # no token sees another: what is kept may depend on content only
    data, order = batch("llama", ["ttvvvvvvvvvvvtt"]), torch.randperm(11)
    moved = data.inputs["input_ids"].clone()
    moved[0, 2:13] = moved[0, 2:13][order]
    method = fitted(name, {1: 6, 3: 3})
    with method(model, **data.options) as trace:
        model(**data.inputs)
        kept = {layer: left[0] for layer, left in trace.kept.items()}
        model(**data.inputs | {"input_ids": moved})
    for layer, left in kept.items():
        assert sorted(order[trace.kept[layer][0] - 2].tolist()) == (left - 2).tolist()


@EVERY_FAMILY
@EVERY_METHOD
def test_as_many_are_left_as_the_schedule_says(name, family):
    skip_unless_possible(name, family)
    if METHODS[name].needs_frames:
        pytest.skip(f"{name} declares that it compares frames, and never leaves less than the whole ones")
    for left in ({1: 0.4, 3: 0.2}, {1: 7, 2: 3}, {2: 1}, {1: 0}):
        method, exact = fitted(name, left), METHODS[name].exact_count
        one_picture = not exact and isinstance(next(iter(left.values())), int)
        rows = ["titttt", "tti" if one_picture else "tittit", "ttt"] if family == "llava" else TEXT_ROWS[:3]
        data = batch(family, rows)
        with method(toy(family), **data.options) as trace:
            toy(family)(**data.inputs)
        for row, n in enumerate((data.vision.sum(1)).tolist()):
            found, said = [counts[row] for counts in trace.vision_tokens], method.schedule.counts(n, LAYERS)
            assert found == said if exact else all(a <= b for a, b in zip(found, said, strict=True))


@EVERY_METHOD
def test_refuses_what_is_no_schedule(name):
    method = fitted(name, {3: 1})
    object.__setattr__(method, "schedule", {3: 1})  # the tests' own type check would refuse it at the constructor
    with pytest.raises(ValueError, match=r"must be a Schedule.*got \{3: 1\}"):
        method.__post_init__()
