"""DyCoke against plain loops, frame by frame."""

import pytest
import torch

from v2drop import Schedule
from v2drop.contract.toys import LAYERS, batch, toy
from v2drop.engine.contract import Candidates
from v2drop.methods.before_llm.dycoke import DyCoke, compared

SIZE = 4


def frames(n, size=SIZE, dim=6, seed=0):
    torch.manual_seed(seed)
    return torch.randn(1, n * size, dim)


def kept(hidden, left, size=SIZE, **options):
    n = hidden.shape[1]
    real = torch.ones(1, n, dtype=torch.bool)
    seen = Candidates(0, hidden, None, torch.arange(n)[None], real, [n], [n], [left])
    method = DyCoke(Schedule({0: left}), frame_tokens=size, **options)
    choice = method.choose(seen, method.score(seen))
    assert choice.n_kept == [int(choice.keep.sum())]
    return choice.keep[0].nonzero().flatten().tolist()


def released_schedule(hidden, k, size=SIZE):
    """The released code's two passes, in loops; a frame without a partner stays, in order of the picture."""
    x, n = hidden[0].double().unflatten(0, (-1, size)), hidden.shape[1] // size
    q, chosen = int((1 - k) * size + 1e-9), {frame: list(range(size)) for frame in range(n)}

    def least_alike(frame, other):
        alike = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(x[frame], x[other], strict=True)]
        return sorted(sorted(range(size), key=lambda p: alike[p])[:q])

    for frame in range(0, n - 1, 2):
        chosen[frame + 1] = least_alike(frame + 1, frame)
    for frame in range(0, n - 4, 4):
        chosen[frame + 2] = least_alike(frame + 2, frame)
    return [frame * size + p for frame in range(n) for p in chosen[frame]]


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize("k", [0.25, 0.5, 1.0])
def test_stage_one_is_the_two_passes_and_few_or_odd_frames_are_not_lost(n, k):
    hidden = frames(n, seed=n)
    expected = released_schedule(hidden, k)
    assert kept(hidden, len(expected)) == expected
    assert kept(hidden, hidden.shape[1], pruned_share=k) == expected


def test_the_default_drops_the_ratio_whatever_the_number_of_frames():
    method = DyCoke.default(toy("llava"))
    for n in range(1, 7):
        data = batch("llava", ["t" + "i" * n + "tt"])
        with method(toy("llava")) as trace:
            toy("llava")(**data.inputs)
        pruned = len(compared(n))
        assert trace.vision_tokens[0] == [16 * (n - pruned) + 4 * pruned]  # 4 = int(0.3 * 16)


@pytest.mark.parametrize("inputs", ["embeddings", "text"])
def test_frames_that_nobody_knows_are_asked_for(inputs):
    family = "llama" if inputs == "text" else "llava"
    data, model = batch(family, ["tvvvvtt" if inputs == "text" else "tiitt"]), toy(family)
    mask = {"vision_mask": data.vision}
    given = data.inputs if inputs == "text" else {"inputs_embeds": torch.randn(1, data.vision.shape[1], 32)}
    with DyCoke(Schedule({0: 0.5}))(model, **mask), pytest.raises(ValueError, match="pass frame_tokens="):
        model(**given)
    with DyCoke(Schedule({0: 0.5}), frame_tokens=2)(model, **mask) as trace:
        model(**given)
    assert trace.vision_tokens[0][0] < int(data.vision.sum())


def test_the_released_ratio_on_32_frames_of_196():
    hidden = frames(32, 196, dim=3)
    got = kept(hidden, 3098, size=196)
    assert kept(hidden, 6272, size=196, pruned_share=0.7) == got
    assert len(got) == 3098 and got == released_schedule(hidden, 0.7, size=196)


def test_what_is_left_is_shared_out_and_whole_frames_stay():
    assert len(kept(frames(6), 17)) == 17 and len(kept(frames(6), 2)) == 2 * SIZE
    assert kept(frames(1), 2) == list(range(SIZE)) and compared(1) == compared(0) == {}
    assert compared(6) == {1: 0, 3: 2, 5: 4, 2: 0}


def test_by_hand():
    one = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    two = torch.tensor([[2.0, 0.0], [1.0, -1.0]])  # the first patch is alike, the second at right angles
    hidden = torch.cat([one, two])[None]
    seen = Candidates(0, hidden, None, torch.arange(4)[None], torch.ones(1, 4, dtype=torch.bool), [4], [4], [3])
    score = DyCoke(Schedule({0: 3}), frame_tokens=2).score(seen)
    torch.testing.assert_close(score, torch.tensor([[2.0, 2.0, -1.0, 0.0]]))
    assert kept(hidden, 3, size=2) == [0, 1, 3]


def test_pictures_are_frames_where_nothing_is_said():
    data, model = batch("llava", ["tiiitt"]), toy("llava")
    with DyCoke(Schedule({0: 0.8}))(model) as trace:
        model(**data.inputs)
    features = torch.stack(list(model.get_image_features(data.inputs["pixel_values"]).pooler_output))
    expected = released_schedule(features.flatten(0, 1)[None], k=0.375 + 0.25, size=16)  # 48 * 0.8 = 38 = 16 + 6 + 16
    assert [p - 1 for p in trace.kept[0][0].tolist()] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_tokens": 0}, "frame_tokens must be an int of 1 or more; got 0"),
        ({"frame_tokens": True}, "frame_tokens must be an int of 1 or more; got True"),
        ({"pruned_share": -0.1}, r"pruned_share must be a finite number from 0 to 1; got -0.1"),
        ({"visible_share": 1.5}, r"visible_share must be a finite number from 0 to 1; got 1.5"),
        ({"visible_share": 0.5, "hide_from_layer": 0}, "hide_from_layer must be an int of 1 or more; got 0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DyCoke(Schedule({0: 0.5}), **options)


def test_a_layer_the_model_does_not_have_is_refused():
    with pytest.raises(ValueError, match=f"one of the {LAYERS} layers, from 1 on; got {LAYERS}"):
        DyCoke(Schedule({0: 0.5}), visible_share=0.5, hide_from_layer=LAYERS)(toy("llava"))
