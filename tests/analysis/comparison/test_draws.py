"""A draw belongs to (seed, question, layer): not to the batch, the order or the set of questions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.comparison.accuracy import accuracy, summarise_accuracy
from analysis.comparison.kept_tokens import kept_at_end, kept_at_layer
from analysis.comparison.pairs import paired_difference, pairwise_differences
from analysis.criteria.scores import scored
from analysis.scenes.mosaic import Scene
from analysis.scenes.question_seeds import question_seeds, with_question_seeds
from analysis.scenes.questions import Question, sample
from analysis.statistics.draws import pooled_draws
from v2drop import Random, Schedule, SparseVLM, V2Drop

FEW = Schedule({1: 6})  # of 144: what is seen is chance
SEEDED = {"random": Random(FEW, seed=3), "sparsevlm": SparseVLM(Schedule({1: 12}))}
SAID = ["method", "draw", "reply", "right", "average_tokens"]


def answers(embedded, asked, order=None, **options):
    """The answers by the questions' numbers in `asked`, asked in another order."""
    order = list(range(len(asked))) if order is None else order
    frame = accuracy(embedded, [asked[i] for i in order], SEEDED, draws=2, **options)
    frame = frame.assign(question=[order[i] for i in frame.question])
    return frame.sort_values(["method", "question", "draw"], kind="stable").reset_index(drop=True)


@pytest.fixture(scope="module")
def asked():
    return sample(12, seed=5)


@pytest.fixture(scope="module")
def together(embedded, asked):
    return answers(embedded, asked)


@pytest.mark.parametrize("size", [1, 5])
def test_batches_change_nothing(embedded, asked, together, size):
    again = answers(embedded, asked, batch_size=size)
    pd.testing.assert_frame_equal(again[SAID], together[SAID])
    np.testing.assert_allclose(again.log_probability, together.log_probability, atol=1e-4)


def test_order_and_halves_change_nothing(embedded, asked, together):
    pd.testing.assert_frame_equal(answers(embedded, asked, [*range(12)][::-1])[SAID], together[SAID])
    halves = pd.concat([answers(embedded, asked, [*range(i, i + 6)]) for i in (0, 6)])
    halves = halves.sort_values(["method", "question", "draw"], kind="stable").reset_index(drop=True)
    pd.testing.assert_frame_equal(halves[SAID], together[SAID])


def test_every_question_picture_and_seed_has_a_mask_of_its_own(embedded):
    """120 questions in batches of 25 once shared five masks, as did any other 120."""
    methods, one = {"random": Random(FEW)}, sample(30, seed=1)
    masks = kept_at_end(embedded, [*one, *sample(30, seed=2)], methods).groupby("question").token.agg(tuple)
    other = kept_at_end(embedded, one, {"random": Random(FEW, seed=1)}).groupby("question").token.agg(tuple)
    assert len({*masks, *other}) == 90


def test_kept_tokens_are_those_of_the_answers(embedded, asked):
    """What is shown as kept is what the answer was given on: the same draws in every function."""
    method = SEEDED["random"]
    at_layer = kept_at_layer(embedded, asked[:3], {"random": method}, 1)
    at_end = kept_at_end(embedded, asked[:3], {"random": method}, batch_size=2)
    for number, one in enumerate(asked[:3]):
        with with_question_seeds(method, [one])(embedded.model) as trace:
            inputs = embedded.inputs([one[0].image], [one[1].text])
            embedded.model(**inputs)
        first = embedded.vision_positions(inputs)[0][0]
        expected = [p - first for p in trace.kept[1][0].tolist()]
        rows = at_layer[(at_layer["sample"] == number) & at_layer.kept]
        assert rows.vision_index.tolist() == expected == at_end.token[at_end.question == number].tolist()


def test_the_draws_of_scores_belong_to_the_question_too(embedded, asked):
    whole = scored(embedded, asked[:5], [0], batch_size=5).random
    halves = [scored(embedded, asked[i:j], [0], batch_size=2).random for i, j in ((0, 3), (3, 5))]
    assert whole.tolist() == pd.concat(halves).tolist()
    assert not set(whole) & set(scored(embedded, asked[:5], [0], seed=1).random)


def test_a_draw_is_what_the_next_seed_gives(embedded, asked, together):
    next_seed = accuracy(embedded, asked, {"random": replace(SEEDED["random"], seed=4)})
    second = together[(together.method == "random") & (together.draw == 1)]
    assert second.reply.tolist() == next_seed.reply.tolist()
    assert second.reply.tolist() != together[(together.method == "random") & (together.draw == 0)].reply.tolist()


def showing(picture):
    """A scene with what `Loaded.inputs` takes beside an array, which the tests' own type check would refuse."""
    scene = Scene(np.zeros((1, 1, 3), np.uint8))
    object.__setattr__(scene, "image", picture)
    return scene


def test_seeds_depend_on_words_and_pixels_alone():
    """Known numbers: a hash that another machine or release made differently would change every result."""
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    pictures = [pixels, Image.fromarray(pixels), [pixels], [pixels, pixels], None, pixels + 1]
    seeds = [question_seeds(0, [(showing(picture), Question("", "why", ""))])[0] for picture in pictures]
    assert seeds[0] == seeds[1] == seeds[2] == 6_439_390_493_213_182_777 and len(set(seeds)) == 4
    other = [question_seeds(s, [(Scene(pixels), Question("", text, ""))])[0] for s, text in ((0, "who"), (1, "why"))]
    assert len({*seeds, *other}) == 6


def test_methods_without_a_seed_ask_once_and_rows_of_seeds_are_refused(embedded, asked):
    frame = accuracy(embedded, asked[:2], {"v2drop": V2Drop(FEW), "random": Random(FEW), "plain": None}, draws=3)
    assert frame.groupby("method", sort=False).draw.nunique().to_dict() == {"v2drop": 1, "random": 3, "plain": 1}
    with pytest.raises(ValueError, match="a method's seed must be one int here.*got 2 seeds"):
        accuracy(embedded, asked[:2], {"random": Random(FEW, seed=(1, 2))})
    with pytest.raises(ValueError, match="draws must be an int of 1 or more; got 0"):
        accuracy(embedded, asked[:2], {"random": Random(FEW)}, draws=0)


def drawn(**right):
    rows = [
        (name, 8, i, d, bool(x))
        for name, rows in right.items()
        for i, row in enumerate(rows)
        for d, x in enumerate(row)
    ]
    return pd.DataFrame(rows, columns=["method", "budget", "question", "draw", "right"])


def test_draws_are_pooled_in_each_question_before_anything_else():
    """Ten draws of each question are no ten times as many questions."""
    ours, chance = [[i % 2] for i in range(40)], [[i % 4 == 0] * 10 for i in range(40)]
    frame = drawn(ours=ours, random=chance)
    found = summarise_accuracy(frame).set_index("method")
    assert found.n.to_dict() == {"ours": 40, "random": 40} and found.draws.to_dict() == {"ours": 1, "random": 10}
    once = frame[frame.draw == 0]
    columns = ["mean", "low", "high", "n", "sd_questions"]
    pd.testing.assert_frame_equal(found[columns], summarise_accuracy(once).set_index("method")[columns])
    for compare in (lambda f: paired_difference(f, "random", ["budget"]), pairwise_differences):
        many, one = compare(frame), compare(once)
        assert many.draws.tolist() == [10] and one.draws.tolist() == [1]
        same = one.columns.drop(["draws", "p", "q"])  # McNemar's test is one of truths
        pd.testing.assert_frame_equal(many[same], one[same])


def test_both_variances_are_those_of_other_questions_and_of_other_draws():
    """By hand: draws 1 0 and 1 1 have variance 1/2 and 0, so their means 1/4 and 0; the mean of both 1/16."""
    row = summarise_accuracy(drawn(random=[[1, 0], [1, 1]])).iloc[0]
    assert row.sd_draws == pytest.approx(np.sqrt(1 / 16)) and row.sd_questions == 0  # 1/16 in all
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        chance = np.repeat(rng.choice([0.5, 1.0], 50)[:, None], 8, 1)
        found.append(summarise_accuracy(drawn(random=rng.random((50, 8)) < chance)).iloc[0])
    found = pd.DataFrame(found).astype({"mean": float, "sd_draws": float, "sd_questions": float})
    assert np.square(found.sd_draws).mean() == pytest.approx(0.125 / 8 / 50, rel=0.02)
    assert np.square(found.sd_questions).mean() == pytest.approx(0.0625 / 50, rel=0.05)
    both = np.hypot(found.sd_draws, found.sd_questions)
    assert found["mean"].std() == pytest.approx(both.mean(), rel=4 / np.sqrt(2 * 200))


def test_a_question_that_is_there_twice_is_refused():
    frame = drawn(a=[[1], [0]], b=[[1], [1]])
    for compare in (summarise_accuracy, lambda f: paired_difference(f, "a", ["budget"]), pairwise_differences):
        with pytest.raises(ValueError, match="question, draw must be there once; got 4 again"):
            compare(pd.concat([frame, frame]))


def test_draws_of_a_question_are_averaged_before_questions_are():
    """By hand: right once of two and twice of two are 1/2 and 1, and 3/4 over two questions."""
    right = {"draw": [0, 1, 0, 1], "question": [0, 0, 1, 1], "right": [True, False, True, True]}
    frame = pd.DataFrame({"method": "random", **right})
    pooled = pooled_draws(frame, ["method"], "right")
    assert pooled.right.tolist() == [0.5, 1.0] and pooled.draws.tolist() == [2, 2]
    (row,) = summarise_accuracy(frame).itertuples()
    assert (row.mean, row.n, row.draws) == (0.75, 2, 2)
