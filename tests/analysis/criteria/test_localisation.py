"""Localisation: the right tokens, the right values, chance is what chance gives."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.criteria.localisation import CONTRASTS, localisation
from analysis.scenes.ground_truth import token_labels
from analysis.scenes.questions import Question
from tests.support.labelled_scene import OTHER, RIGHT, asked

ON = ["relevant"] * 3 + ["other"] * 2 + ["background"] * 4


def synthetic(samples=1, layers=1, on=ON, names=("a",), seed=0):
    """A table of random scores, and where its tokens lie; the picture starts at the third token of the prompt."""
    rng = np.random.default_rng(seed)
    keys = np.stack(np.meshgrid(range(samples), range(layers), range(len(on)), indexing="ij")).reshape(3, -1)
    table = pd.DataFrame(dict(zip(["sample", "layer", "vision_index"], keys, strict=True))).assign(token=keys[2] + 3)
    table = table.join(pd.DataFrame(rng.random((len(table), len(names))), columns=list(names)))
    frames = [pd.DataFrame({"sample": s, "vision_index": range(len(on)), "label": on}) for s in range(samples)]
    return table, pd.concat(frames, ignore_index=True)


def value(found, statistic, contrast="relevant", criterion="a", column="value"):
    wanted = {"statistic": statistic, "contrast": contrast, "criterion": criterion}
    rows = found.loc[(found[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(rows) == 1, wanted
    return rows.iloc[0][column]


def test_contrasts_hold_the_tokens_they_are_named_for():
    table, where = synthetic()
    found = localisation(table, where, ["a"], ratios=(1.0,)).query("statistic == 'pointing'").set_index("contrast")
    assert list(found.index) == list(CONTRASTS)
    assert found.chance.to_dict() == pytest.approx({"objects": 5 / 9, "relevant": 3 / 9, "relevant among objects": 0.6})
    for contrast, right in (("objects", (0, 4)), ("relevant", (0, 2)), ("relevant among objects", (0, 2))):
        for rank in range(9):
            row = localisation(table.assign(a=(table["vision_index"] == rank) * 1.0), where, ["a"], ratios=())
            if rank < 5 or "among" not in contrast:  # else the best token is not in the contrast
                assert value(row, "pointing", contrast) == (right[0] <= rank <= right[1])


def test_questions_about_nothing_or_everything_have_no_other_object():
    table, _ = synthetic(on=["background"] * 144)
    for relevant, left in (((), {"objects"}), (tuple(sorted(RIGHT + OTHER)), {"objects", "relevant"})):
        assert set(localisation(table, token_labels(asked(relevant), 144), ["a"]).contrast) == left
    with pytest.raises(ValueError, match="both sides of a contrast; got none, with labels background"):
        localisation(table, token_labels([(asked()[0][0], Question("what", "", "", (), ()))], 144), ["a"])


labelled = st.integers(1, 5).flatmap(
    lambda right: st.tuples(
        st.just(right), arrays(float, st.integers(right + 1, 10), elements=st.integers(0, 3).map(float))
    )
)


@settings(max_examples=50)
@given(labelled, st.integers(0, 9))
def test_values_are_those_of_plain_loops_and_sklearn(drawn, turn):
    right, scores = drawn
    positive = np.roll(np.arange(len(scores)) < right, turn)
    table, where = synthetic(on=list(np.where(positive, "relevant", "background")))
    found = localisation(table.assign(a=scores), where, ["a"], ratios=(0.5, 0.2))
    wins = [(x > y) + (x == y) / 2 for x in scores[positive] for y in scores[~positive]]
    assert value(found, "auroc") == pytest.approx(np.mean(wins)) == pytest.approx(roc_auc_score(positive, scores))
    assert value(found, "average_precision") == pytest.approx(average_precision_score(positive, scores))
    order = sorted(range(len(scores)), key=lambda token: (-scores[token], token))
    assert value(found, "pointing") == positive[order[0]]
    for ratio in (0.5, 0.2):
        kept = order[: max(1, int(ratio * len(scores)))]
        assert value(found, f"recall@{ratio:.2f}") == pytest.approx(positive[kept].sum() / right)
        assert value(found, f"recall@{ratio:.2f}", column="chance") == pytest.approx(len(kept) / len(scores))


def test_average_precision_by_hand():
    table, where = synthetic(on=["relevant", "background", "relevant", "background"])
    found = localisation(table.assign(a=[4.0, 3.0, 2.0, 1.0]), where, ["a"], ratios=(0.5,))
    assert value(found, "average_precision") == pytest.approx((1 + 2 / 3) / 2)
    assert value(found, "auroc") == pytest.approx(3 / 4) and value(found, "recall@0.50") == 0.5


def test_chance_is_the_mean_of_random_scores():
    names = [str(i) for i in range(400)]
    table, where = synthetic(names=names)
    found = localisation(table, where, names, ratios=(0.5, 0.1))
    for _, group in found.groupby(["contrast", "statistic"]):
        error = group.value.std() / np.sqrt(len(group))
        assert group.value.mean() == pytest.approx(group.chance.iloc[0], abs=4 * error)
        assert len(group) == 400 and group.chance.nunique() == 1


def test_a_perfect_criterion_and_its_opposite():
    table, where = synthetic()
    level = where.label.map({"relevant": 2.0, "other": 1.0, "background": 0.0})
    found = localisation(table.assign(a=level, b=-level), where, ["a", "b"], ratios=(1 / 3, 1.0))
    for contrast in CONTRASTS:
        for statistic in ("auroc", "average_precision", "pointing", "recall@1.00"):
            assert value(found, statistic, contrast) == 1
        assert value(found, "auroc", contrast, "b") == value(found, "pointing", contrast, "b") == 0
        assert value(found, "recall@0.33", contrast, "b") == 0 and value(found, "recall@1.00", contrast, "b") == 1
    assert value(found, "recall@0.33") == 1 and value(found, "recall@0.33", "objects") == pytest.approx(3 / 5)


def test_constant_scores_are_at_chance_in_auroc_and_point_at_the_first():
    table, where = synthetic()
    found = localisation(table.assign(a=1.0), where, ["a"])
    assert value(found, "auroc") == 0.5 and value(found, "average_precision") == pytest.approx(3 / 9)
    assert value(found, "pointing") == 1 and value(found, "pointing", "objects") == 1


def test_the_order_of_rows_changes_nothing():
    table, where = synthetic(3, 2, names=("a", "b"))
    table = table.assign(a=table.a.round(1))
    mixed = localisation(table.sample(frac=1, random_state=0), where.sample(frac=1, random_state=1), ["a", "b"])
    pd.testing.assert_frame_equal(localisation(table, where, ["a", "b"]), mixed)
    assert len(mixed) == 3 * 2 * 3 * 6 * 2


def test_a_criterion_without_scores_in_a_layer_is_left_out_there():
    table, where = synthetic(layers=2, names=("a", "b"))
    table.loc[table.layer == 1, "b"] = np.nan
    found = localisation(table, where, ["a", "b"])
    assert set(zip(found.layer, found.criterion, strict=True)) == {(0, "a"), (0, "b"), (1, "a")}


def test_what_cannot_be_located_is_refused():
    table, where = synthetic(2)
    with pytest.raises(ValueError, match="all tokens of a sample must be there"):
        localisation(table, where.drop(index=4), ["a"])
    with pytest.raises(ValueError, match="a must be a number for every token of a layer or for none; got 1 NaN"):
        localisation(table.assign(a=table.a.where(table.index != 4)), where, ["a"])
    for ratios in ((0.0,), (0.5, 1.5), (-1.0,)):
        with pytest.raises(ValueError, match=r"ratios must lie in \(0, 1\]"):
            localisation(table, where, ["a"], ratios)
    with pytest.raises(ValueError, match="there once; got 18 again"):
        localisation(pd.concat([table, table]), where, ["a"])


@pytest.mark.parametrize("column", ["sample", "layer", "token", "vision_index", "a"])
def test_a_missing_column_is_refused(column):
    table, where = synthetic()
    with pytest.raises(ValueError, match=column):
        localisation(table.drop(columns=column), where, ["a"])


def test_a_token_that_lies_on_two_things_is_refused():
    table, where = synthetic()
    with pytest.raises(ValueError, match="all tokens of a sample must be there, once each"):
        localisation(table, pd.concat([where, where]), ["a"])


def test_the_truth_of_another_grid_or_of_other_samples_is_refused():
    table, where = synthetic()
    n = len(where)
    more = pd.concat([where, where.tail(1).assign(vision_index=n)])
    with pytest.raises(ValueError, match=rf"no others; sample 0 has {n} tokens here and {n + 1} there"):
        localisation(table, more, ["a"])
    with pytest.raises(ValueError, match=f"sample 0 has {n} tokens here and 0 there"):
        localisation(table, where.assign(sample=7), ["a"])
    with pytest.raises(ValueError, match="all tokens of a sample must be there"):
        localisation(table[table["vision_index"] > 0], where, ["a"])
