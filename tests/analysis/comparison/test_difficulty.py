"""The split by difficulty: by hand, and what it does with sets of questions, draws, and budgets that nobody judged."""

import numpy as np
import pandas as pd
import pytest

from analysis import NOTHING_DROPPED, accuracy_by_difficulty, with_difficulty


def frame(budget=48, **answers):
    rows = [(name, budget, q, bool(x)) for name, given in answers.items() for q, x in enumerate(given)]
    return pd.DataFrame(rows, columns=["method", "budget", "question", "right"])


JUDGED = frame(downsample=[1, 0, 0, 1], mine=[1, 1, 0, 0])
WHOLE = frame(144, **{NOTHING_DROPPED: [1, 1, 1, 0]})
BOTH = pd.concat([JUDGED, WHOLE])


def difficulty(answers, method="mine", **options):
    found = with_difficulty(answers, **options)
    return [None if pd.isna(each) else each for each in found.difficulty[found.method == method]]


def test_by_hand():
    assert difficulty(BOTH) == ["easy", "difficult", "difficult", None]  # the model cannot answer the last one
    assert difficulty(BOTH, NOTHING_DROPPED) == [None] * 4 and difficulty(BOTH, judge="mine")[:2] == ["easy", "easy"]
    found = accuracy_by_difficulty(BOTH).set_index("group")
    assert found.loc["easy", ["mean", "n"]].tolist() == [1, 1]
    assert found.loc["difficult", ["mean", "n"]].tolist() == [0.5, 2]


def test_rows_stay_where_they_were():
    shuffled = BOTH.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(with_difficulty(shuffled)[list(BOTH)], shuffled.reset_index(drop=True))


def test_a_budget_is_judged_by_itself_and_one_without_the_judge_not_at_all():
    other = pd.concat([frame(72, downsample=[0, 1, 1, 1], mine=[1] * 4), frame(96, mine=[1] * 4)])
    found = with_difficulty(pd.concat([BOTH, other])).query("method == 'mine'").groupby("budget").difficulty
    by_budget = {budget: [None if pd.isna(each) else each for each in group] for budget, group in found}
    assert by_budget[72] == ["difficult", "easy", "easy", None] and by_budget[96] == [None] * 4
    assert by_budget[48] == difficulty(BOTH)


def test_sets_of_questions_are_judged_apart():
    mirrored = frame(downsample=[0, 1, 1, 0], mine=[1] * 4), frame(144, **{NOTHING_DROPPED: [0, 1, 1, 1]})
    two = pd.concat([BOTH.assign(subject="a"), pd.concat(mirrored).assign(subject="b")])
    assert difficulty(two, by=["subject"]) == [*difficulty(BOTH), None, "easy", "easy", "difficult"]


def test_of_several_draws_the_first_judges():
    drawn = pd.concat([BOTH.assign(draw=0), JUDGED.assign(right=~JUDGED.right, draw=1)])
    assert difficulty(drawn) == difficulty(BOTH) * 2


def test_a_budget_of_the_whole_model_may_be_missing():
    unnamed = pd.concat([JUDGED, WHOLE.assign(budget=np.nan)])
    assert difficulty(unnamed) == difficulty(BOTH)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(ValueError, match="must hold the method 'nothing dropped'; got downsample, mine"):
        with_difficulty(JUDGED)
    with pytest.raises(ValueError, match="judge must be one of mine; got 'downsample'"):
        with_difficulty(BOTH[BOTH.method != "downsample"])
    with pytest.raises(ValueError, match="must be there once"):
        with_difficulty(pd.concat([BOTH, JUDGED]))
    with pytest.raises(ValueError, match="got none of 4 questions"):
        accuracy_by_difficulty(BOTH[BOTH.method != "mine"])
