"""The same picture, different questions: what share of a ranking is the picture's."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.criteria.question_dependence import icc, question_dependence
from analysis.scenes.question_kinds import QUESTION_KINDS
from analysis.scenes.questions import questions_each


def synthetic(images=3, questions=4, tokens=20, layers=1, names=("a",), seed=0):
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(range(images * questions), range(layers), range(tokens), indexing="ij")
    table = pd.DataFrame(dict(zip(["sample", "layer", "token"], np.stack(axes).reshape(3, -1), strict=True)))
    table = table.join(pd.DataFrame(rng.random((len(table), len(names))), columns=list(names)))
    return table, [i for i in range(images) for _ in range(questions)]


def ranked(rows):
    """Places from 0, the highest first, as in `analysis.statistics.rankings.places`."""
    return np.argsort(np.argsort(-np.asarray(rows), axis=1), axis=1)


def anova(ranks):
    """ICC(3, 1) from sums of squares written out."""
    k, n = len(ranks), len(ranks[0])
    mean = sum(map(sum, ranks)) / (k * n)
    tokens = [sum(row[t] for row in ranks) / k for t in range(n)]
    questions = [sum(row) / n for row in ranks]
    total = sum((x - mean) ** 2 for row in ranks for x in row)
    of_tokens = k * sum((x - mean) ** 2 for x in tokens)
    rest = total - of_tokens - n * sum((x - mean) ** 2 for x in questions)
    of_tokens, rest = of_tokens / (n - 1), rest / ((n - 1) * (k - 1))
    return (of_tokens - rest) / (of_tokens + (k - 1) * rest)


@given(st.integers(2, 5), st.integers(2, 9), st.randoms(use_true_random=False))
def test_the_share_is_that_of_an_analysis_of_variance(questions, tokens, random):
    ranks = [random.sample(range(tokens), tokens) for _ in range(questions)]
    assert icc(np.array(ranks)) == pytest.approx(anova(ranks), abs=1e-12)


def test_the_share_is_an_anova_of_any_numbers_also_where_questions_differ_in_level():
    ranks = np.random.default_rng(0).integers(0, 9, (4, 7)) + np.array([[0], [5], [0], [50]])
    assert icc(ranks) == pytest.approx(anova(ranks.tolist()))
    assert icc(np.array([[0, 1, 2], [7, 8, 9]])) == pytest.approx(1)


def test_the_share_by_hand():
    """Of rankings it is the mean Spearman correlation of two of them."""
    assert icc(np.array([[0, 1, 2, 3], [1, 0, 2, 3]])) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert icc(np.array([[0, 1], [0, 1], [1, 0]])) == pytest.approx((1 - 1 - 1) / 3)


def test_questions_that_rank_alike_and_those_that_contradict():
    ranks = np.stack([np.arange(9)] * 4)
    assert icc(ranks) == pytest.approx(1)
    cyclic = np.array([np.roll(np.arange(5), i) for i in range(5)])  # every token has every place once
    assert icc(cyclic) == pytest.approx(-1 / 4)


def test_unrelated_questions_share_nothing_on_average():
    rng = np.random.default_rng(0)
    for k in (2, 5):
        shares = [icc(ranked(rng.random((k, 12)))) for _ in range(1000)]
        assert np.mean(shares) == pytest.approx(0, abs=4 * np.std(shares) / np.sqrt(1000))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_planted_share_of_the_picture_is_recovered(share):
    """Of normal scores with correlation r, ranks have the correlation 6 / pi asin(r / 2)."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        picture, question = rng.normal(size=400), rng.normal(size=(5, 400))
        found.append(icc(ranked(np.sqrt(share) * picture + np.sqrt(1 - share) * question)))
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(6 / np.pi * np.arcsin(share / 2), abs=4 * error + 1e-3)


def test_every_image_layer_statistic_and_criterion_has_a_row():
    table, images = synthetic(layers=2, names=("a", "b"))
    found = question_dependence(table, images, ["a", "b"], ratios=(0.5, 0.1))
    keys = found[["sample", "layer", "statistic", "criterion"]]
    assert len(keys) == len(keys.drop_duplicates()) == 3 * 2 * 3 * 2
    assert set(found.statistic) == {"image_share", "same@0.50", "same@0.10"} and set(found["sample"]) == {0, 1, 2}
    assert found.groupby("statistic").chance.first().tolist() == [0, 0.1, 0.5]


def test_rows_hold_the_rankings_of_their_image_layer_and_criterion():
    table, images = synthetic(layers=2, names=("a", "b"))
    order = [2, 0, 1] * 4  # samples of an image need not lie together
    found = question_dependence(table, order, ["a", "b"], ratios=(0.3,)).set_index(
        ["sample", "layer", "statistic", "criterion"]
    )
    for image in range(3):
        asked = [sample for sample, shown in enumerate(order) if shown == image]
        for layer in range(2):
            rows = table[(table.layer == layer) & table["sample"].isin(asked)]
            scores = rows.pivot(index="sample", columns="token", values="b").to_numpy()
            value = found.value[image, layer, "image_share", "b"]
            assert value == pytest.approx(anova(ranked(scores).tolist()))
            kept = [set(np.argsort(-row)[:6]) for row in scores]
            same = [len(x & y) / 6 for i, x in enumerate(kept) for y in kept[:i]]
            assert found.value[image, layer, "same@0.30", "b"] == pytest.approx(np.mean(same))


def test_a_score_that_knows_no_question_is_all_the_pictures():
    table, images = synthetic(names=("a", "b"))
    table = table.assign(a=[(i * token) % 7 for i, token in zip(table["sample"] // 4, table.token, strict=True)])
    found = question_dependence(table, images, ["a", "b"], ratios=(0.5, 1.0))
    assert (found[found.criterion == "a"].value == 1).all()
    assert (found[found.statistic == "same@1.00"].value == 1).all()
    assert found[(found.criterion == "b") & (found.statistic == "image_share")].value.abs().max() < 0.5


def test_chance_is_the_mean_of_unrelated_questions():
    table, images = synthetic(images=300, questions=3, tokens=10)
    found = question_dependence(table, images, ["a"], ratios=(0.5, 0.22))
    for _, group in found.groupby("statistic"):
        error = group.value.std() / np.sqrt(len(group))
        assert group.value.mean() == pytest.approx(group.chance.iloc[0], abs=4 * error)
    assert found.groupby("statistic").chance.first()["same@0.22"] == 2 / 10  # two tokens, not 2.2


def test_the_order_of_rows_changes_nothing():
    table, images = synthetic(names=("a", "b"))
    table = table.assign(a=table.a.round(1))
    mixed = question_dependence(table.sample(frac=1, random_state=0), images, ["a", "b"])
    pd.testing.assert_frame_equal(question_dependence(table, images, ["a", "b"]), mixed)


def test_what_cannot_be_compared_is_refused():
    table, images = synthetic()
    with pytest.raises(ValueError, match="asked about twice or more; image 9 was once"):
        question_dependence(table, [*images[:-1], 9], ["a"])
    with pytest.raises(ValueError, match=r"ratios must lie in \(0, 1\]"):
        question_dependence(table, images, ["a"], ratios=(0.5, 1.5))
    with pytest.raises(ValueError, match="a must be a number for every token of a layer or for none; got 1 NaN"):
        question_dependence(table.assign(a=table.a.where(table.index > 0)), images, ["a"])
    with pytest.raises(ValueError, match="there once; got 240 again"):
        question_dependence(pd.concat([table, table]), images, ["a"])
    with pytest.raises(ValueError, match=r"got 240 rows without \['b'\]"):
        question_dependence(table, images, ["a", "b"])


def test_pictures_of_different_size_or_of_one_token_are_refused():
    table, images = synthetic(images=1, questions=2)
    with pytest.raises(ValueError):
        question_dependence(table[(table["sample"] == 0) | (table.token < 9)], images, ["a"])
    with pytest.raises(ValueError):
        question_dependence(table[table.token == 0], images, ["a"])


def test_every_kind_of_question_is_asked_of_every_scene():
    asked, images = questions_each(3, seed=1)
    n = len(QUESTION_KINDS)
    assert images == [0] * n + [1] * n + [2] * n and [q.kind for _, q in asked] == list(QUESTION_KINDS) * 3
    assert len({id(scene) for scene, _ in asked}) == 3 and all(
        asked[i * n][0] is asked[i * n + n - 1][0] for i in range(3)
    )
    again, _ = questions_each(3, seed=1)
    assert [q for _, q in asked] == [q for _, q in again]
    assert [q for _, q in asked[:n]] == [q for _, q in questions_each(1, seed=1)[0]]
    assert [q for _, q in asked] != [q for _, q in questions_each(3, seed=2)[0]]
