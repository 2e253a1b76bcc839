"""MustDrop against its formulas written out."""

import pytest
import torch

from tests.support.mustdrop_reference import looked_at, prompts, reference, sighted
from v2drop import METHODS, Schedule
from v2drop.contract.toys import IMAGE_ID, LAYERS, toy
from v2drop.hooks.window_merging import WindowMergingHooks
from v2drop.scoring.patch_windows import mean_pairwise_cosine, n_key_tokens, patch_windows

MustDrop = METHODS["mustdrop"]
STEPS = 3


def run(model, method, data):
    """Logits after the prompt and some tokens, the tokens, positions left, lengths of caches."""
    torch.manual_seed(len(data.vision[0]))
    tokens = torch.randint(4, 64, (STEPS,))
    with method(model) as trace:
        out = model(**data.inputs)
        found, length = [out.logits[0, -1]], data.vision.shape[1]
        for i, token in enumerate(tokens):
            mask = torch.ones(1, length + i + 1, dtype=torch.long)
            out = model(input_ids=token.view(1, 1), attention_mask=mask, past_key_values=out.past_key_values)
            found.append(out.logits[0, -1])
    lengths = [layer.keys.shape[2] for layer in out.past_key_values.layers]
    return torch.stack(found), tokens, {layer: left[0].tolist() for layer, left in trace.kept.items()}, lengths


PROMPTS = [
    (4, "titttt", [[0]]),
    (4, "tittt", [[]]),
    (4, "titit", [[], [0]]),
    (4, "iittt", [[0], [0]]),
    (7, "titttt", [[0, 2]]),
    (7, "tit", [[1, 2, 3]]),
    (7, "titittt", [[3], [0, 1, 2, 3]]),
]
METHOD = [
    MustDrop(Schedule({2: 5})),
    MustDrop(Schedule({1: 6, 3: 2})),
    MustDrop(Schedule({2: 0.5, 3: 0.3, 4: 0.1})),
    MustDrop(Schedule({2: 1.0, 4: 3})),
    MustDrop(Schedule({3: 0})),
    MustDrop(Schedule({2: 1.0, 3: 1.0}), thresholds=(0.05, 0.5)),
    MustDrop(Schedule({1: 1.0, 2: 1.0, 4: 1.0}), thresholds=(0.1, 0.08)),
    MustDrop(Schedule({2: 1.0}), thresholds=(0.9, 0.9)),
]


@pytest.mark.parametrize("method", METHOD, ids=lambda method: f"{method.schedule.left}-{method.thresholds}")
@pytest.mark.parametrize(("side", "pattern", "alike"), PROMPTS)
def test_mustdrop_is_the_formulas(side, pattern, alike, method):
    for seed, operator in enumerate(["eager", "sdpa"]):
        model, data = sighted(side, operator), prompts(side, [pattern], alike, seed)
        found, tokens, kept, lengths = run(model, method, data)
        expected, slowly, left = reference(model, data, method, tokens)
        assert kept == left and lengths == slowly
        assert len(kept[0]) == len(alike) * side**2 - 8 * sum(map(len, alike))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_thresholds_drop_some_and_not_all_where_they_are_tested():
    for method in METHOD[-3:]:
        kept = run(sighted(7), method, prompts(7, ["titttt"], [[0, 2]]))[2]
        assert n_key_tokens(33) <= len(kept[max(kept)]) < 33


@pytest.mark.parametrize("pattern", ["i", "ti", "itti"])
def test_a_row_that_ends_in_a_placeholder(pattern):
    side = 7 if pattern == "ti" else 4
    model, data = sighted(side), prompts(side, [pattern], [[0]] * pattern.count("i"))
    with MustDrop(Schedule({2: 4}))(model) as trace:
        got = model.generate(**data.inputs, max_new_tokens=3, do_sample=False, suppress_tokens=[IMAGE_ID])
    n = pattern.count("i") * (side**2 - 8) - 1
    assert trace.vision_tokens == [[n], [n], [4], [4], [4]] and got.shape[1] == data.vision.shape[1] + 3


@pytest.mark.parametrize("alike", [[], [0, 3]])
def test_key_tokens_stay_while_there_is_room(alike):
    model, data = sighted(7), prompts(7, ["tittt"], [alike])
    _, tokens, best = looked_at(model, data.inputs["pixel_values"][0])
    key = {1 + min(tokens[i]) for i in best}
    assert len(key) == (4 if not alike else 3)  # of 49 and of 33
    for left in range(7):
        with MustDrop(Schedule({3: left}))(model) as trace:
            model(**data.inputs)
        kept = set(trace.kept[3][0].tolist())
        assert len(kept & key) == min(left, len(key)) and len(kept) == left


def test_likeness_and_windows_by_hand():
    """Four directions: cosines 1, 0, 0, 0, 0 and -1 of the pairs."""
    members = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [0.0, -3.0]])[None, None]
    torch.testing.assert_close(mean_pairwise_cosine(members), torch.tensor([[0.0]]))
    torch.testing.assert_close(mean_pairwise_cosine(members[:, :, :3]), torch.tensor([[1 / 3]]))
    assert patch_windows(7)[3].tolist() == [24, 25, 26, 31, 32, 33, 38, 39, 40]
    assert sorted(patch_windows(24).flatten().tolist()) == list(range(576))


@pytest.mark.parametrize(("cosine", "left"), [(0.79, 16), (0.81, 8)])
def test_a_window_is_merged_from_four_fifths_on(cosine, left):
    """Each patch shares one direction with all others and has one of its own."""
    states, hooks = torch.eye(17, 18)[None] * (1 - cosine) ** 0.5, WindowMergingHooks()
    states[:, :, 17] = cosine**0.5
    found = hooks._merge(torch.nn.Identity(), (), states)
    assert len(hooks.token_of_patch.unique()) == left
    if left == 8:
        assert hooks.token_of_patch[0].tolist() == [0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 11, 12, 13, 14, 15]
        torch.testing.assert_close(found[0, 1], states[0, [1, 2, 3, 5, 6, 7, 9, 10, 11]].mean(0))
        assert torch.equal(found[0, 2:], states[0, 2:]) and torch.equal(found[0, 0], states[0, 0])


def test_hidden_patches_take_no_attention():
    """Without the hidden one the heads say 0.4, 0.6 and 0.52, 0.48; with it the first would have but a tenth to say."""
    hooks = WindowMergingHooks()
    weights = torch.tensor([[1e-9, 1e-9], [0.9, 1e-9], [0.04, 0.52], [0.06, 0.48]])
    hooks._heads, hooks._scaling = 2, 1.0
    hooks._notes = {"queries": torch.ones(1, 4, 2), "keys": weights.log()[None]}
    hooks.token_of_patch, hooks._hidden_patches = torch.arange(3)[None], torch.tensor([[True, False, False]])
    assert hooks.key.tolist() == [[False, False, True]]


def test_features_of_the_block_that_merges():
    model, data = sighted(4), prompts(4, ["tittt"], [[0]])
    model(**data.inputs)  # transformers records blocks with hooks of its own from here on
    original = model.config.vision_feature_layer
    try:
        model.config.vision_feature_layer = -5
        found, tokens, kept, _ = run(model, METHOD[0], data)
        expected, _, left = reference(model, data, METHOD[0], tokens)
    finally:
        model.config.vision_feature_layer = original
    assert kept == left
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_released_numbers():
    """A picture without alike windows has 47 key tokens, one of 64 merged windows 6; drops are a layer after theirs."""
    assert (
        n_key_tokens(576) == 47
        and n_key_tokens(64) == 6
        and [n_key_tokens(25 * i) for i in range(1, 40)] == [2 * i for i in range(1, 40)]
    )
    assert MustDrop.released_schedule.layers == (3, 7, 11, 15)
    method = MustDrop.default(toy("llava"))
    assert method.thresholds == (0.001, 0.001) and set(method.schedule.left.values()) == {1.0}
    assert MustDrop.default(toy("llava"), thresholds=(0.011, 0.01)).thresholds == (0.011, 0.01)
    assert MustDrop.for_final(64, 576, 32).thresholds is None


def test_merging_of_one_run_does_not_reach_the_next():
    model, data, other = sighted(4), prompts(4, ["tittt"], [[]]), prompts(4, ["tittt"], [[0]])
    with MustDrop(Schedule({2: 5}))(model) as trace:
        model(**other.inputs)
        assert trace.vision_tokens[0] == [8]
        after = model(**data.inputs).logits[0, -1]
        assert trace.vision_tokens[0] == [16]
    with MustDrop(Schedule({2: 5}))(model):
        assert torch.equal(after, model(**data.inputs).logits[0, -1])


def test_bfloat16_and_gradients():
    data, model = prompts(7, ["tittt"], [[0, 2]]), sighted(7)
    torch.manual_seed(0)
    fresh = type(model)(model.config)
    fresh.load_state_dict(model.state_dict())
    with MustDrop(Schedule({2: 5}))(fresh.train()):
        fresh(**data.inputs).logits[0, -1].sum().backward()
    gradient = fresh.model.vision_tower.encoder.layers[0].mlp.fc1.weight.grad
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    fresh = fresh.eval().to(torch.bfloat16)
    inputs = data.inputs | {"pixel_values": data.inputs["pixel_values"].bfloat16()}
    with MustDrop(Schedule({2: 5}))(fresh) as trace, torch.no_grad():
        fresh.generate(**inputs, max_new_tokens=2)
    assert trace.vision_tokens == [[33]] * 2 + [[5]] * (LAYERS - 2)


def test_refusals():
    model = sighted(4)
    with pytest.raises(ValueError, match=r"allowed: layers from 1 on; got \[0\]"):
        MustDrop(Schedule({0: 0.5}))
    for schedule in ({3: 0.5}, {3: 1}):
        with pytest.raises(ValueError, match=r"leave everything.*got Schedule\(\{3"):
            MustDrop(Schedule(schedule), thresholds=(0.1, 0.1))
    method = MustDrop(Schedule({3: 1.0}))
    for wrong in (0.1, (0.1,), (0.1, "a"), "ab"):
        object.__setattr__(method, "thresholds", wrong)
        with pytest.raises(ValueError, match="thresholds must be (two numbers|a finite number)"):
            method.__post_init__()
    with pytest.raises(ValueError, match="MustDrop reads the vision tower"):
        MustDrop(Schedule({3: 1}))(toy("llama"), vision_mask=torch.ones(1, 4, dtype=torch.bool))
    config, operator = model.model.vision_tower.config, model.model.vision_tower.config._attn_implementation
    try:
        config._attn_implementation = "flash_attention_2"
        with pytest.raises(ValueError, match="allowed there: eager, sdpa; got 'flash_attention_2'"):
            MustDrop(Schedule({3: 1}))(model)
    finally:
        config._attn_implementation = operator
