"""ToMe against its formulas written out: sets of patches, plain loops, float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.before_llm_reference import expected, kept, run
from tests.support.float64_models import projected, tower_embeddings, tower_layer, tower_mlp
from v2drop import METHODS, Schedule
from v2drop.contract.toys import IMAGE_TOKENS, batch, toy
from v2drop.scoring.bipartite_merging import match_tokens, merge_tokens, merges_per_block

ToMe = METHODS["tome"]
N = IMAGE_TOKENS


def proposals(keys, n_merged):
    """(a, b) of the accepted ones: from even to odd places, best first, the class token at 0 excepted."""
    best = []
    for a in range(2, len(keys), 2):
        cosine = {b: float(torch.cosine_similarity(keys[a], keys[b], dim=0)) for b in range(1, len(keys), 2)}
        b = max(cosine, key=cosine.get)
        best.append((-cosine[b], a, b))
    return [(a, b) for _, a, b in sorted(best)[:n_merged]]


def merged_tower(model, picture, numbers):
    """Features of the tokens and the patches each is made of, its own first, the class token left out."""
    tower = model.model.vision_tower
    x = tower_embeddings(tower, picture)
    groups = [[i] for i in range(len(x))]
    for layer, n_merged in zip(tower.encoder.layers, numbers, strict=False):
        bias = torch.tensor([len(group) for group in groups]).double().log()
        x, _, keys = tower_layer(layer, x, bias)
        accepted = proposals(keys.mean(1), n_merged)
        states, new = {}, {}
        for place, group in enumerate(groups):
            came = [a for a, b in accepted if b == place]
            parts = [(len(groups[i]), x[i]) for i in [place, *came]]
            states[place] = sum(size * state for size, state in parts) / sum(size for size, _ in parts)
            new[place] = group + [patch for a in came for patch in groups[a]]
        gone = {a for a, _ in accepted}
        order = [a for a in range(0, len(x), 2) if a not in gone] + list(range(1, len(x), 2))
        groups = [new[place] for place in order]
        x = tower_mlp(layer, torch.stack([states[place] for place in order]))
    return x[1:], [[patch - 1 for patch in group] for group in groups[1:]]


@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("pattern", "left", "numbers"),
    [
        ("titttt", 12, (1, 1, 1, 1)),
        ("tit", 6, (3, 3, 2, 2)),
        ("tit", 1, (8, 4, 2, 1)),
        ("ittit", 0.5, (2, 2, 2, 2)),
        ("tiit", 0.6, (2, 2, 2, 1)),
        ("tit", 15, (1, 0, 0, 0)),
    ],
)
def test_tome_is_the_formulas(pattern, left, numbers, seed, operator):
    model, data = toy("llava", operator), batch("llava", [pattern], seed=seed)
    tokens, pictures, positions = torch.randint(4, 64, (3,)), [], []
    starts = data.vision[0].nonzero().flatten().tolist()[::N]
    found, trace = run(ToMe(Schedule({0: left})), data, tokens, model)
    for start, picture in zip(starts, data.inputs["pixel_values"], strict=True):
        features, groups = merged_tower(model, picture, numbers)
        order = sorted(range(len(groups)), key=lambda token: groups[token][0])
        pictures.append(projected(model, features[order]))
        positions += [start + groups[token][0] for token in order]
        scores = {start + group[0]: len(group) for group in groups}
        seen = dict(zip(trace.candidates[0][0].tolist(), trace.scores[0][0].tolist(), strict=True))
        assert all(seen[start + patch] == scores.get(start + patch, 0) for patch in range(N))
    assert kept(trace) == positions
    torch.testing.assert_close(found, expected(model, data, tokens, pictures), atol=1e-4, rtol=1e-4)


@given(st.integers(1, 8), st.integers(0, 99), st.data())
def test_matching_is_the_loop(half, seed, data):
    n, n_merged = 2 * half + 1, data.draw(st.integers(0, half))
    keys = torch.randn(2, n, 3, generator=torch.Generator().manual_seed(seed))
    stay, goes = match_tokens(keys, n_merged)
    for image in range(2):
        accepted = dict(proposals(keys[image].double(), n_merged))
        there = [i for i in range(0, n, 2) if i not in accepted] + list(range(1, n, 2))
        assert stay[image].tolist() == there
        assert goes[image].tolist() == [there.index(accepted.get(i, i)) for i in range(n)]


def test_matching_and_averaging_by_hand():
    """Places 0 (class), 2, 4 propose to 1, 3; 2 is as 3, 4 is near 1, so 2 goes first, and 4 stays."""
    angle = torch.tensor([0.0, 0.0, 90.0, 90.0, 30.0]).deg2rad()
    keys = torch.stack([angle.cos(), angle.sin()], 1)[None] * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])[None, :, None]
    stay, goes = match_tokens(keys, 1)
    assert stay.tolist() == [[0, 4, 1, 3]] and goes.tolist() == [[0, 2, 3, 3, 1]]
    states, sizes = torch.tensor([[[1.0], [2.0], [10.0], [20.0], [5.0]]]), torch.tensor([[1.0, 1.0, 3.0, 1.0, 2.0]])
    new, total = merge_tokens(states, sizes, goes, 4)
    assert new.tolist() == [[[1.0], [5.0], [2.0], [12.5]]] and total.tolist() == [[1.0, 2.0, 1.0, 4.0]]


@pytest.mark.parametrize("blocks", [1, 3, 23])
@pytest.mark.parametrize("patches", [1, 7, 16, 576])
def test_every_reachable_count_is_reached(patches, blocks):
    least = patches
    for _ in range(blocks):
        least = (least + 1) // 2
    for left in {least, (least + patches) // 2, max(least, patches - 1), patches, max(least, 208), max(least, 3)}:
        if left > patches:
            continue
        numbers, n = merges_per_block(patches, left, blocks), patches
        assert len(numbers) == blocks and list(numbers) == sorted(numbers, reverse=True)
        for n_merged in numbers:
            assert 0 <= n_merged <= n // 2
            n -= n_merged
        assert n == left
    with pytest.raises(ValueError, match=f"leave {least}; allowed: {least} or more; got {least - 1}"):
        merges_per_block(patches, least - 1, blocks)


def test_the_released_count():
    assert merges_per_block(576, 208, 23) == (16,) * 23


def test_a_budget_out_of_reach_is_refused_before_anything_runs():
    model = toy("llava")
    original = model.config.vision_feature_layer
    try:
        model.config.vision_feature_layer = 2
        with pytest.raises(ValueError, match="2 blocks of the tower that halve 16 patches leave 4"):
            ToMe(Schedule({0: 3}))(model)
        for allowed in (0, 4):
            ToMe(Schedule({0: allowed}))(model)
    finally:
        model.config.vision_feature_layer = original


def test_operators_that_take_no_bias_are_refused():
    model = toy("llava")
    config, operator = model.model.vision_tower.config, model.model.vision_tower.config._attn_implementation
    try:
        config._attn_implementation = "flash_attention_2"
        with pytest.raises(ValueError, match="allowed there: eager, sdpa; got 'flash_attention_2'"):
            ToMe(Schedule({0: 8}))(model)
    finally:
        config._attn_implementation = operator


@pytest.mark.parametrize("left", [0.5, 8, 3, 0.1, 15])
def test_a_row_that_ends_in_a_placeholder(left):
    """It is no candidate, holds what its patch was merged into, and the row has no more than it may."""
    model, data = toy("llava"), batch("llava", ["ti"])
    with ToMe(Schedule({0: left}))(model) as trace:
        got = model.generate(**data.inputs, max_new_tokens=3, do_sample=False, suppress_tokens=[3])
        (found,) = trace.vision_tokens[0]
        allowed = Schedule({0: left}).after(15)[0]
        assert allowed - 1 <= found <= allowed
    assert got.shape[1] == 17 + 3


def test_the_plain_tower_runs_where_nothing_is_merged_after_something_was():
    """Sizes of one run do not reach the next."""
    model, data = toy("llava"), batch("llava", ["tittt"])
    other = batch("llava", ["tittt"], seed=1)
    method = ToMe(Schedule({0: 0.5}))
    with method(model) as trace:
        model(**other.inputs)
        after = model(**data.inputs).logits
        kept_after = kept(trace)
    with method(model) as trace:
        alone = model(**data.inputs).logits
    assert kept(trace) == kept_after and torch.equal(after.nan_to_num(), alone.nan_to_num())


def test_first_use_of_the_tower_inside_the_with():
    """transformers hooks the blocks at their first use, before or after this method does."""
    torch.manual_seed(sum(map(ord, "llava")))
    fresh = type(toy("llava"))(toy("llava").config).eval().requires_grad_(False)
    fresh.load_state_dict(toy("llava").state_dict())
    data = batch("llava", ["tittt"])
    logits = []
    for model in (fresh, toy("llava")):
        with ToMe(Schedule({0: 5}))(model):
            logits.append(model(**data.inputs).logits[0, -1])
    assert torch.equal(*logits)


def test_bfloat16_and_gradients():
    torch.manual_seed(0)
    model = type(toy("llava"))(toy("llava").config).train()
    data = batch("llava", ["tittt"])
    with ToMe(Schedule({0: 5}))(model):
        model(**data.inputs).logits[0, -1].sum().backward()
    gradient = model.model.vision_tower.encoder.layers[0].mlp.fc1.weight.grad
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    model = model.eval().to(torch.bfloat16)
    inputs = data.inputs | {"pixel_values": data.inputs["pixel_values"].bfloat16()}
    with ToMe(Schedule({0: 5}))(model) as trace, torch.no_grad():
        model(**inputs)
    assert trace.vision_tokens[0] == [5]
