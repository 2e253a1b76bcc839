"""SparseVLM v1.5 against its formulas: raters, scores, recycling and the order of what goes on."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dpc_knn_loops import peaks
from tests.support.slow_decoder import compare
from tests.support.text_rater_loops import mean_over, raters
from v2drop import METHODS, Schedule
from v2drop.contract.toys import FAMILIES, batch, toy
from v2drop.methods.in_llm.sparsevlm import n_kept_without_recycled, n_recycled

SparseVLM = METHODS["sparsevlm"]
ROWS = ["ttvvvvvvvvvvvvvvttttt", "vvvvvvvvt", "tvvvvvttvvvvvvvttt", "t" + "v" * 60 + "tttt"]
SCHEDULES = [{1: 5}, {2: 0.5}, {1: 0.7, 3: 0.3}, {1: 6, 2: 3, 3: 1}, {2: 7, 4: 0}, {1: 0.95, 2: 1}]


def reference(seen, seed=0):
    rates = raters(seen)
    score = [mean_over(seen.weights, rates, c) for c in seen.vision]
    seen.scored, n = score, len(seen.vision)
    order = [seen.vision[i] for i in sorted(range(n), key=lambda i: (-score[i], i))]

    def made(k):
        return (3 * (n - k) // 10 + 1) // 10 + 1

    k = max([k for k in range(n) if k + made(k) <= seen.left], default=0)
    c, pool = seen.left - k, sorted(order[k : k + 3 * (n - k) // 10 + 1])
    if c == 0:
        return []
    generator = torch.Generator().manual_seed(seed * 1_000_003 + seen.layer)
    drawn = torch.rand(len(seen.prompt), generator=generator).tolist()
    noise = [drawn[seen.prompt.index(seen.names[column])] for column in pool]
    centres, members = peaks([seen.x[column].tolist() for column in pool], c, noise)
    goes_on = [(seen.names[column], seen.x[column]) for column in sorted(order[:k])]
    for number, centre in enumerate(centres):
        own = [seen.x[column] for column, m in zip(pool, members, strict=True) if m == number]
        goes_on.append((seen.names[pool[centre]], sum(own) / len(own)))
    places = sorted(order[:k] + sorted(order[k:])[-c:])
    return places, dict(zip(places, goes_on, strict=True))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@settings(max_examples=30)
@given(row=st.sampled_from(ROWS), seed=st.integers(0, 99), left=st.sampled_from(SCHEDULES))
def test_is_the_reference(family, row, seed, left):
    compare(toy(family), SparseVLM(Schedule(left)), batch(family, [row], seed=seed), reference, "repack")


def test_is_the_reference_with_several_clusters_and_another_seed():
    """Each drop makes several tokens, later ones of tokens that were made themselves."""
    data = batch("llama", ["tt" + "v" * 120 + "ttttt"], seed=3)
    assert [
        n_recycled(120 - n_kept_without_recycled(120, 60))[1],
        n_recycled(60 - n_kept_without_recycled(60, 16))[1],
    ] == [2, 2]
    for seed in (0, 5):
        method = SparseVLM(Schedule({1: 60, 3: 16, 4: 3}), seed=seed)
        compare(toy("llama"), method, data, lambda seen, seed=seed: reference(seen, seed), "repack")


@pytest.mark.parametrize(
    ("n", "left", "kept", "recycled", "made"),
    [
        (576, 309, 300, 83, 9),
        (309, 204, 200, 33, 4),
        (204, 113, 110, 29, 3),
        (576, 312, 303, 82, 9),
        (312, 117, 110, 61, 7),
        (117, 39, 36, 25, 3),
        (576, 82, 66, 154, 16),
        (82, 32, 30, 16, 2),
        (32, 18, 17, 5, 1),
    ],
)
def test_the_released_counts(n, left, kept, recycled, made):
    assert n_kept_without_recycled(n, left) == kept and n_recycled(n - kept) == (recycled, made) and kept + made == left


def test_as_many_as_are_left_are_kept_or_made_and_as_many_as_can_be_are_kept():
    for n in range(1, 80):
        for left in range(n):
            k = n_kept_without_recycled(n, left)
            made = [k + n_recycled(n - k)[1] for k in range(n)]
            assert left - k == n_recycled(n - k)[1] if left >= made[0] else k == 0
            assert all(m > left for m in made[k + 1 :])
        assert n_kept_without_recycled(n, n) == n


def test_the_released_schedule_keeps_300_and_makes_9():
    data = batch("llama", ["t" * 35 + "v" * 576 + "t" * 24])
    with SparseVLM(Schedule({3: SparseVLM.released_schedule.left[3]}))(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs)
    kept, best = trace.kept[3][0].tolist(), trace.scores[3][0].argsort(descending=True, stable=True) + 35
    assert SparseVLM.released_schedule.after(576) == {3: 309, 7: 204, 16: 113}
    assert kept[:300] == sorted(best[:300].tolist())
    assert len(kept) == 309 and set(kept[300:]) < set(best[300:383].tolist())
    assert trace.lengths == [635] * 3 + [35 + 309 + 24] * 2


def annotated(embeddings, vision, text_after):
    flags = (torch.tensor([[c in x for c in row] for row in rows]) for x, rows in (("v", vision), ("t", text_after)))
    return SparseVLM(Schedule({1: 1})).annotate(torch.tensor(embeddings), *flags)


def test_raters_by_hand():
    """Logits 0, log 3 and 0: shares 1/5, 3/5, 1/5, the mean is 1/3. A single text token rates for want of others.

    What stands before the picture, and would say the opposite, has no part, though the rows differ in vision tokens.
    """
    one = [[-9.0], [-9.0], [-9.0], [1.0], [0.0], [math.log(3)], [0.0]]
    other = [[9.0], [1.0], [2.0], [3.0], [4.0], [5.0], [5.0]]
    got = annotated([one, other], ["---v---", "-vvvvv-"], ["----ttt", "------t"])
    assert got.tolist() == [[False] * 5 + [True, False], [False] * 6 + [True]]


def test_raters_are_chosen_over_all_vision_tokens():
    """Two vision tokens that look at two words: the shares are halves, all alike, so that the last rates."""
    eye = torch.eye(2).repeat(2, 1).mul(50).tolist()
    assert annotated([eye], ["vv--"], ["--tt"]).tolist() == [[False, False, False, True]]
    assert annotated([eye], ["v---"], ["--tt"]).tolist() == [[False, False, True, False]]


def test_what_is_made_stands_behind_the_last_pictures_tokens():
    """Three tokens between pictures; places stay sorted, and positions close up."""
    data = batch("llama", ["tvvvvvvvtttvvvvvvvvvvvvvtt"], seed=2)
    with SparseVLM(Schedule({1: 9}))(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs)
    keep = trace._drops[1].selection.keep[0].nonzero().flatten().tolist()
    kept = trace.kept[1][0].tolist()
    assert len(keep) == 9 and kept[:8] == sorted(kept[:8]) and kept[8] not in kept[:8]
    first = [i for i in keep if i < 7]
    assert [i + 1 for i in first] == [p for p in kept[:8] if p < 8]


def test_gradients_reach_what_was_recycled():
    torch.manual_seed(0)
    model, data = FAMILIES["llama"]().eval(), batch("llama", ["tt" + "v" * 12 + "ttt"])
    x = model.model.embed_tokens(data.inputs["input_ids"]).detach().requires_grad_()
    with SparseVLM(Schedule({1: 4}))(model, **data.options):
        model(inputs_embeds=x).logits[0, -1].sum().backward()
    assert x.grad.isfinite().all() and (x.grad[0, 2:14].abs().sum(1) > 0).all()


def test_the_whole_map_keeps_the_same():
    data, kept = batch("llama", ["ttvvvvvvvvvvttt", "vvvvvtt"]), []
    for official in (False, True):
        with SparseVLM(Schedule({1: 5, 3: 2}), full_attention_map=official)(toy("llama"), **data.options) as trace:
            toy("llama")(**data.inputs)
        kept.append(trace.kept)
    assert all(torch.equal(kept[0][layer], kept[1][layer]) for layer in (1, 3))


def test_bfloat16():
    torch.manual_seed(0)
    model, data = toy("llama").__class__(toy("llama").config).eval().bfloat16(), batch("llama", ["ttvvvvvvvvvvttt"])
    with SparseVLM(Schedule({1: 5, 3: 2}))(model, **data.options) as trace, torch.no_grad():
        model(**data.inputs)
    assert trace.lengths == [15, 10, 10, 7, 7] and trace.scores[1].dtype == torch.float32
