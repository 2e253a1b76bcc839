"""Favoured positions: where tokens lie, planted biases recovered, tests at their level."""

import numpy as np
import pandas as pd
import pytest

from analysis.position.detection import planted_kept
from analysis.position.retention import AXES, end_to_start_ratio, kept_tokens_by, retention, with_grid_place
from tests.support.planted_scores import planted_scores


def kept_at_random(samples=60, tokens=40, share=0.3, criteria=1, seed=0):
    rng = np.random.default_rng(seed)
    keys = np.stack(np.meshgrid(range(criteria), range(samples), range(tokens), indexing="ij")).reshape(3, -1)
    frame = pd.DataFrame(dict(zip(["criterion", "sample", "vision_index"], keys, strict=True)))
    return frame.assign(kept=rng.random(len(frame)) < share)


def test_the_highest_scores_are_kept_and_tokens_numbered_in_prompt_order():
    rows = [(0, 1, 9, 0.1), (0, 1, 5, 0.7), (0, 1, 7, 0.7), (0, 1, 12, 0.3)]
    table = pd.DataFrame(rows, columns=["sample", "layer", "token", "a"]).assign(vision_index=[2, 0, 1, 3])
    for ratio, expected in ((0.25, [0]), (0.5, [0, 1]), (0.75, [0, 1, 3]), (1.0, [0, 1, 2, 3]), (0.01, [0])):
        found = kept_tokens_by(table, ratio, ["a"])
        assert found["vision_index"].tolist() == [0, 1, 2, 3] and found[found.kept]["vision_index"].tolist() == expected
        assert set(found.layer) == {1} and set(found.criterion) == {"a"} and found.kept.dtype == bool


def test_every_criterion_keeps_its_own_tokens():
    table = planted_scores(3, 12, 0.0).assign(layer=4, b=lambda t: -t.planted, c=np.nan)
    found = kept_tokens_by(table, 0.5, ["planted", "b", "c"])
    wide = found.pivot(index=["sample", "layer", "vision_index"], columns="criterion", values="kept")
    assert list(wide) == ["b", "planted"] and (wide.b != wide.planted).all() and len(wide) == 36
    scores = table.set_index(["sample", "layer", "vision_index"]).planted
    assert (wide.planted == (scores > scores.groupby("sample").transform("median"))).all()


def test_three_frames_of_four_tokens_by_hand():
    found = with_grid_place(pd.DataFrame({"sample": 0, "vision_index": range(12), "kept": True}), frames=3)
    assert found.frame.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.row.tolist() == [0, 0, 1, 1] * 3 and found.column.tolist() == [0, 1, 0, 1] * 3
    assert found.position.tolist() == pytest.approx([i / 11 for i in range(12)])


def test_samples_of_different_size_are_located_each_by_itself():
    frames = [pd.DataFrame({"sample": i, "vision_index": range(n), "kept": True}) for i, n in ((0, 4), (1, 9), (2, 1))]
    found = with_grid_place(pd.concat(frames))
    assert found.row.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0]
    assert found.column.tolist() == [0, 1, 0, 1, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert found.groupby("sample").position.max().tolist() == [1, 1, 0]


def test_tokens_that_are_no_frames_are_refused():
    frame = pd.DataFrame({"sample": 0, "vision_index": range(12), "kept": True})
    with pytest.raises(ValueError, match="frames of equal size; got 12 tokens in 5 frames"):
        with_grid_place(frame, frames=5)
    with pytest.raises(ValueError, match="n_tokens must be a square number, a grid of patches; got 6"):
        with_grid_place(frame, frames=2)


def test_retention_by_hand():
    """Five tokens in two bins: the first holds ranks 0 to 2; two samples, weighed the same."""
    frame = pd.DataFrame({"criterion": "a", "sample": [0] * 5 + [1] * 5, "vision_index": list(range(5)) * 2})
    frame["kept"] = [True, False, False, True, False, True, True, True, False, False]
    found = retention(frame, bins=2)
    assert found["mean"].tolist() == pytest.approx([(1 / 3 + 1) / 2, (1 / 2 + 0) / 2])
    assert found.bin.tolist() == [0, 1] and found.n.tolist() == [2, 2]
    assert retention(frame, bins=5)["mean"].tolist() == [1, 0.5, 0.5, 0.5, 0]


def test_random_dropping_keeps_the_same_share_everywhere():
    """300 intervals, of which 5 % miss, give or take (binomial, 4 sd)."""
    found = retention(kept_at_random(criteria=30), bins=10)
    missed = ((found.low > 0.3) | (found.high < 0.3)).sum()
    assert len(found) == 300 and (found.n == 60).all() and 1 <= missed <= 15 + 4 * np.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize("axis", ["row", "column", "frame", "token"])
def test_a_preference_along_one_axis_shows_in_that_axis_only(axis):
    """A video of three frames of 3 x 3 tokens, of which the later frames are kept more often, and so on."""
    frame = with_grid_place(kept_at_random(samples=600, tokens=27), frames=3)
    where = frame[axis] / frame[axis].max()
    frame = frame.assign(kept=np.random.default_rng(1).random(len(frame)) < 0.2 + 0.4 * where)
    for other in {"row", "column", "frame", axis}:
        found = retention(frame, axis=other)["mean"].to_numpy()
        if other == axis:
            assert found == pytest.approx(0.2 + 0.4 * np.linspace(0, 1, len(found)), abs=0.09) and len(found) in (3, 27)
        elif axis != "token":
            assert found == pytest.approx(np.full(3, 0.4), abs=0.03)


def test_all_kept_is_1_everywhere_and_one_token_is_all():
    whole = with_grid_place(kept_at_random(share=2.0, tokens=36))
    for axis in AXES:
        found = retention(whole, axis=axis)
        assert (found[["mean", "high"]] == 1).all(axis=None)
        assert found.low.to_numpy() == pytest.approx(0.025 ** (1 / found.n))  # Clopper and Pearson
    row = end_to_start_ratio(whole).iloc[0]
    assert row[["start", "end", "ratio"]].tolist() == [1] * 3 and row.low < 1 < row.high
    one = with_grid_place(kept_at_random(samples=4, tokens=1, share=2.0))
    assert one.position.tolist() == [0] * 4 and retention(one, axis="row")["mean"].tolist() == [1]
    with pytest.raises(ValueError, match="bins must lie between 2 and the tokens of a sample, 1; got 10"):
        retention(one)


def test_the_planted_ratio_lies_in_its_interval_at_its_level():
    """200 planted biases: 95 % intervals hold the truth (binomial, 4 sd), and the estimates lie around it."""
    make = [planted_kept(40, 60, 0.3, 2.0, seed=i).assign(criterion=i) for i in range(200)]
    found = end_to_start_ratio(pd.concat(make))
    covered = ((found.low <= 2) & (found.high >= 2)).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 200)
    assert found.ratio.median() == pytest.approx(2, abs=0.1) and (found.n == 40).all()
    assert found.start.mean() == pytest.approx(0.2, abs=0.01) and found.end.mean() == pytest.approx(0.4, abs=0.01)


def test_the_ratio_is_that_of_means_over_samples():
    frame = pd.DataFrame({"criterion": "a", "sample": [0] * 4 + [1] * 4, "vision_index": list(range(4)) * 2})
    frame["kept"] = [True, True, False, True, True, False, True, True]
    row = end_to_start_ratio(frame, bins=2).iloc[0]
    assert (row.start, row.end, row.ratio) == (0.75, 0.75, 1) and row.low == pytest.approx(1 / row.high)


def test_the_ratio_is_infinite_where_nothing_is_kept_first():
    frame = kept_at_random(samples=8, tokens=20)
    late = frame.assign(kept=frame["vision_index"] >= 10)
    found = end_to_start_ratio(late, bins=2).iloc[0]
    assert found[["start", "end", "ratio", "high"]].tolist() == [0, 1, np.inf, np.inf] and 2 < found.low < 8
    row = end_to_start_ratio(
        late.assign(kept=late.kept | (late["sample"] == 0) & (late["vision_index"] == 0)), bins=2
    ).iloc[0]
    assert row.ratio == pytest.approx(80) and row.high > 80 and 1 < row.low < 80
    assert end_to_start_ratio(frame.assign(kept=frame["vision_index"] < 10), bins=2).ratio.item() == 0
    assert (
        end_to_start_ratio(frame.assign(kept=frame["vision_index"] == 10), bins=4).ratio.item() == 1
    )  # no end is preferred


def test_axes_and_bins_that_are_not_there_are_refused():
    frame = kept_at_random(samples=2, tokens=9)
    for bins in (-1, 0, 1, 10):
        for curve in (retention, end_to_start_ratio):
            with pytest.raises(ValueError, match=f"bins must lie between 2 and the tokens of a sample, 9; got {bins}"):
                curve(frame, bins=bins)
    with pytest.raises(ValueError, match="axis must be one of 'position', 'row', .*'token'; got 'depth'"):
        retention(frame, axis="depth")
    with pytest.raises(ValueError, match="for axis 'row'; pass it through `with_grid_place`"):
        retention(frame, axis="row")
    for ratio in (0.0, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"ratio must (lie in \(0, 1\]|be a finite number); got"):
            kept_tokens_by(planted_scores(1, 5, 0.0), ratio, ["planted"])


def test_kept_tokens_alone_tell_no_curve():
    kept = planted_kept(5, 40, 0.4, 3.0)
    for measure in (retention, end_to_start_ratio):
        with pytest.raises(ValueError, match="dropped tokens left out"):
            measure(kept[kept.kept])
    with pytest.raises(ValueError, match="all tokens of a sample must be there"):
        kept_tokens_by(planted_scores(2, 9, 0.5).query("vision_index > 3"), 0.5, ["planted"])


def test_grids_need_not_be_square():
    frame = pd.DataFrame({"sample": 0, "vision_index": range(12), "kept": True})
    found = with_grid_place(frame, frames=2, width=2)
    assert found.frame.tolist() == [0] * 6 + [1] * 6
    assert found.row.tolist() == [0, 0, 1, 1, 2, 2] * 2 and found.column.tolist() == [0, 1] * 6
    for width in (0, 4):
        with pytest.raises(ValueError, match=f"width must divide the tokens of a frame, 6; got {width}"):
            with_grid_place(frame, frames=2, width=width)
