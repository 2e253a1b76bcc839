"""Protected tokens stay and count as left; the others are chosen as with a mask without the protected ones."""

import pytest
import torch

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS, Random, Schedule, V2Drop
from v2drop.contract.toys import batch, toy
from v2drop.engine.prompt_columns import PromptColumns
from v2drop.engine.protection import protected_flags
from v2drop.sequence.layout import Layout

ROWS = {"llama": ["tvvvvvvvvvvttt", "vvvvvvvvvtt"], "llava": ["tittt", "titt"]}
PROTECTED = {3, 7}  # positions in the prompt, padding not counted
COUNTING = ("random", "stratified", "coverage")  # choose by a token's number among all vision tokens, protected or not


def kept(method, data, model, options):
    with method(model, **options) as trace:
        logits = model(**data.inputs, position_ids=data.positions).logits
    tokens = {layer: [[i for i in row if i >= 0] for row in left.tolist()] for layer, left in trace.kept.items()}
    return tokens, trace, logits[:, -1]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", ROWS)
def test_protected_tokens_stay_and_the_others_are_chosen_as_without_them(name, family):
    skip_unless_possible(name, family, merges_tokens=False)
    if METHODS[name].cannot_protect:
        pytest.skip(f"{name} {METHODS[name].cannot_protect}")
    data, model = batch(family, ROWS[family]), toy(family)
    starts = (~data.present).sum(1).tolist()
    stay = [[start + i for i in sorted(PROTECTED)] for start in starts]
    mask = data.vision.clone()
    for row, positions in enumerate(stay):
        mask[row, positions] = False
    ours, trace, logits = kept(fitted(name, {1: 6, 3: 4}, protect=PROTECTED), data, model, data.options)
    theirs, other, others = kept(fitted(name, {1: 4, 3: 2}), data, model, {"vision_mask": mask})
    assert trace.lengths == other.lengths
    assert [[n - 2 for n in row] for row in trace.vision_tokens] == other.vision_tokens
    for layer, rows in ours.items():
        assert all({*positions} <= {*row} for row, positions in zip(rows, stay, strict=True))
        if name not in COUNTING:
            assert rows == [sorted([*row, *more]) for row, more in zip(theirs[layer], stay, strict=True)]
    if name not in COUNTING:
        torch.testing.assert_close(logits, others)


@pytest.mark.parametrize("name", [n for n, kind in METHODS.items() if kind.merges_tokens and not kind.cannot_protect])
def test_methods_that_merge_leave_protected_tokens_as_they_are(name):
    data, model = batch("llava", ROWS["llava"][:1]), toy("llava")
    tokens, trace, logits = kept(fitted(name, {1: 6, 3: 4}, protect=PROTECTED), data, model, data.options)
    assert all({*rows[0]} >= PROTECTED for rows in tokens.values()) and logits.isfinite().all()
    plain = kept(fitted(name, {1: 6, 3: 4}), data, model, data.options)[1]
    assert trace.vision_tokens == plain.vision_tokens


@pytest.mark.parametrize("name", ["tome", "downsample", "mustdrop", "dycoke"])
def test_a_method_that_cannot_protect_says_why(name):
    for protect in ("sinks", {3}):
        with pytest.raises(ValueError, match="protect must be left out: the method .* can be left out; got"):
            fitted(name, {1: 6, 3: 4}, protect=protect)
    assert fitted(name, {1: 6, 3: 4}).protect == ()


def test_positions_are_those_of_the_prompt_behind_a_drop_at_layer_0_too():
    """They were counted anew in the shortened prompt."""
    data, model = batch("llama", ROWS["llama"]), toy("llama")
    starts = (~data.present).sum(1).tolist()
    for seed in range(8):
        tokens = kept(Random(Schedule({0: 6, 3: 3}), seed, protect={7, 8}), data, model, data.options)[0]
        for left in tokens.values():
            assert all({start + 7, start + 8} <= {*row} for start, row in zip(starts, left, strict=True))


def test_positions_of_text_and_beyond_the_prompt_change_nothing():
    data, model = batch("llama", ROWS["llama"]), toy("llama")
    plain = kept(V2Drop(Schedule({1: 4})), data, model, data.options)[0]
    assert kept(V2Drop(Schedule({1: 4}), protect=[12, 99]), data, model, data.options)[0] == plain


def test_more_protected_tokens_than_the_schedule_leaves_all_stay():
    data, model = batch("llama", ROWS["llama"][:1]), toy("llama")
    tokens, trace, _ = kept(Random(Schedule({1: 2, 3: 1}), protect=range(2, 6)), data, model, data.options)
    assert tokens == {1: [[2, 3, 4, 5]], 3: [[2, 3, 4, 5]]} and trace.final_tokens == 4


@pytest.mark.parametrize("protect", ["sinks", ()])
def test_sinks_are_the_tokens_of_massive_norm_at_the_drop_layer(protect):
    """The token at position 4 is made massive behind layer 0, and turns least of all: variation drops it."""
    data, model = batch("llama", ROWS["llama"][:1]), toy("llama")

    def inflate(module, args, output):
        output[:, 4] = output[:, 4] / output[:, 4].norm() * 1000
        return output

    with model.model.layers[0].register_forward_hook(inflate):
        tokens, trace, _ = kept(V2Drop(Schedule({2: 4}), "cosine", protect=protect), data, model, data.options)
    assert len(tokens[2][0]) == 4 and (4 in tokens[2][0]) == (protect == "sinks")
    assert (4 in trace.candidates[2][0].tolist()) == (protect == ())


def test_a_token_of_five_times_the_median_is_no_sink_and_one_of_more_is():
    vision = torch.tensor([[False, True, True, True, True, False]])
    columns, layout = PromptColumns.of_call(None, vision), Layout.full(1, 6, vision.device)
    states = torch.tensor([99.0, 1, 1, 5, 5.1, 1])[None, :, None]
    flags = protected_flags("sinks", columns, layout, states)
    assert flags.tolist() == [[False, False, False, False, True, False]]


@pytest.mark.parametrize("wrong", ["sink", 3, [1, 1], [-1], [0.5], None])
def test_what_is_no_set_of_positions_is_refused(wrong):
    with pytest.raises(ValueError, match="protect must be"):
        V2Drop(Schedule({1: 4}), protect=wrong)
