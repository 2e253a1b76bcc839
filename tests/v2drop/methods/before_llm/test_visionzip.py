"""VisionZip against its formulas written out."""

import pytest
import torch

from tests.support.before_llm_reference import CASES, embedded, expected, kept, run, seen_by_tower, shared
from tests.support.float64_models import projected
from v2drop import METHODS, Schedule
from v2drop.contract.toys import IMAGE_TOKENS, batch, toy
from v2drop.methods.before_llm.visionzip import split, zipped

VisionZip = METHODS["visionzip"]


def written(output, weights, keys, left):
    """Feature of the class token, dominant patches, targets and their new features, by plain loops."""
    n, contextual = len(output) - 1, round(left * 10 / 64)
    score = [sum(float(head[0, 1 + patch]) for head in weights) for patch in range(n)]
    best = sorted(sorted(range(n), key=lambda patch: -score[patch])[: left - contextual - 1])
    rest = [patch for patch in range(n) if patch not in best]
    targets = rest[:: max(1, len(rest) // contextual)][:contextual] if contextual else []
    went = {target: [] for target in targets}
    for patch in (p for p in rest if p not in targets and targets):
        cosine = {t: torch.cosine_similarity(keys[1 + patch], keys[1 + t], dim=0).item() for t in targets}
        went[max(targets, key=cosine.get)].append(output[1 + patch])
    merged = [output[1 + t] + (sum(those) / len(those) if those else 0) for t, those in went.items()]
    return best, targets, merged


@pytest.mark.parametrize("seed", range(4))
@CASES
def test_visionzip_is_the_formulas(pattern, left, seed):
    model, data = toy("llava"), batch("llava", [pattern], seed=seed)
    tokens = torch.randint(4, 64, (3,))
    pictures, positions = [], []
    for i, (states, (start, quota)) in enumerate(zip(embedded(model, data), shared(data, left), strict=True)):
        if not quota:
            pictures.append(states[:0])
            continue
        output, weights, keys = seen_by_tower(model, data.inputs["pixel_values"][i])
        best, targets, merged = written(output, weights, keys, quota)
        made = projected(model, torch.stack([output[0], *merged]))
        pictures.append(torch.cat([made[:1], states[best], made[1:]]))
        positions += [-1] + [start + patch for patch in best + targets]
    found, trace = run(VisionZip(Schedule({0: left})), data, tokens)
    assert kept(trace) == positions
    torch.testing.assert_close(found, expected(model, data, tokens, pictures), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("left", "dominant", "contextual"), [(64, 54, 10), (128, 108, 20), (192, 162, 30)])
def test_counts_of_the_paper(left, dominant, contextual):
    assert split(left) == (dominant, contextual)
    best, targets, merged = zipped(torch.rand(576), torch.randn(576, 4), torch.randn(576, 4), left)
    assert (1 + len(best), len(targets), len(merged)) == (dominant, contextual, contextual)
    rest = sorted(set(range(576)) - set(best.tolist()))
    assert targets.tolist() == rest[:: len(rest) // contextual][:contextual]


@pytest.mark.parametrize("left", range(1, IMAGE_TOKENS))
def test_any_budget_is_met(left):
    best, targets, _ = zipped(torch.rand(16), torch.randn(16, 4), torch.randn(16, 4), left)
    assert 1 + len(best) + len(targets) == left and not set(best.tolist()) & set(targets.tolist())


def test_merging_by_hand():
    """Five patches, four tokens: class, the two best, one target; its feature plus the mean of the other two."""
    score = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3])
    features = torch.tensor([[1.0], [10.0], [3.0], [20.0], [7.0]])
    best, targets, merged = zipped(score, features, torch.eye(5), 4)
    assert (best.tolist(), targets.tolist(), merged.tolist()) == ([1, 3], [0], [[6.0]])


def test_the_nearest_in_angle_whatever_the_length():
    """Of twenty patches eleven tokens are left: class, eight patches, two targets six apart in the twelve left over."""
    score, features = torch.arange(20, 0, -1.0), torch.arange(20.0)[:, None]
    keys = torch.tensor([[1.0, 0.1]]).repeat(20, 1)  # nearer to 8, the first target
    keys[8], keys[14] = torch.tensor([0.01, 0.0]), torch.tensor([0.0, 9.0])
    keys[15] = torch.tensor([3.0, 4.0])  # nearer to 14's
    best, targets, merged = zipped(score, features, keys, 11)
    assert best.tolist() == list(range(8)) and targets.tolist() == [8, 14]
    others = [9, 10, 11, 12, 13, 16, 17, 18, 19]
    torch.testing.assert_close(merged[:, 0], torch.tensor([8 + sum(others) / 9, 14.0 + 15.0]))
    keys[8], keys[14] = keys[8] * 1e4, keys[14] * 1e-4
    assert torch.equal(zipped(score, features, keys, 11)[2], merged)


def test_a_picture_that_keeps_everything_is_left_as_it_is_also_beside_one_that_does_not():
    model, data = toy("llava"), batch("llava", ["tittttt", "ttitit"])
    with VisionZip(Schedule({0: 16}))(model) as trace:
        got = model(**data.inputs).logits[0, -1]
    plain = model(input_ids=data.inputs["input_ids"][:1, -22:], pixel_values=data.inputs["pixel_values"][:1])
    torch.testing.assert_close(got, plain.logits[0, -1], atol=1e-5, rtol=1e-5)
    assert kept(trace) == data.vision[0].nonzero().flatten().tolist()
