"""A second question about one picture: on caches cut back to the picture, equal to the masked model's answer."""

import pandas as pd
import pytest
import torch

from analysis.scenes.asked import prompts
from analysis.studies import next_question
from analysis.studies.next_question import AFTER, ALONE, ask_next
from v2drop import FastV, Schedule

TOLD = {"average": 48, "layers": [1], "seed": 3}


@pytest.fixture(autouse=True)
def subject(embedded, monkeypatch):
    monkeypatch.setattr(next_question, "model_of", lambda name: embedded)
    return embedded


def pairs(frame):
    return frame[frame.asked == ALONE].reset_index(drop=True), frame[frame.asked == AFTER].reset_index(drop=True)


@pytest.mark.parametrize("method", ["v2drop", "uniform", "random"])
def test_methods_that_do_not_read_the_question_answer_the_same(method):
    alone, after = pairs(ask_next("embedded", method, n=12, **TOLD))
    assert list(alone.reply) == list(after.reply) and set(alone.same_tokens) == {1.0}


def test_methods_that_read_it_leave_other_tokens():
    frame = ask_next("embedded", "fastv", n=12, **TOLD)
    assert frame.same_tokens.mean() < 0.95 and (frame.kind != frame.first_kind).all()
    assert list(frame.question) == [i for i in range(12) for _ in range(2)]


def test_a_question_alone_has_the_reply_that_generation_gives(subject):
    alone, _ = pairs(ask_next("embedded", "fastv", n=6, **TOLD))
    for number, (asked, _) in next_question._pairs(0, 6, 3):
        inputs = prompts(subject, [asked])
        with FastV(Schedule.for_average(48, (1,), 144, 12))(subject.model):
            out = subject.model.generate(**inputs, max_new_tokens=8, do_sample=False)
        reply = subject.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert alone.reply[number] == reply


@torch.no_grad()
def test_after_another_question_only_the_picture_is_seen_and_only_what_that_one_left(subject):
    """The same as a prompt whose dropped tokens are protected from nothing: the kept set of the first, forced."""
    _, after = pairs(ask_next("embedded", "fastv", n=6, **TOLD))
    for number, (asked, earlier) in next_question._pairs(0, 6, 3):
        schedule = Schedule.for_average(48, (1,), 144, 12)
        inputs = prompts(subject, [earlier])
        with FastV(schedule)(subject.model) as trace:
            subject.model(**inputs)
        kept = tuple(trace.kept[1][0].tolist())
        inputs = prompts(subject, [asked])
        with FastV(schedule, protect=kept)(subject.model) as trace:  # nothing else fits into the schedule
            out = subject.model.generate(**inputs, max_new_tokens=8, do_sample=False)
        assert tuple(trace.kept[1][0].tolist()) == kept
        reply = subject.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert after.reply[number] == reply


def test_slices_are_parts_of_the_whole():
    whole = ask_next("embedded", "pdrop", n=4, **TOLD)
    part = ask_next("embedded", "pdrop", first=2, n=2, **TOLD)
    pd.testing.assert_frame_equal(whole[whole.question >= 2].reset_index(drop=True), part)


def test_a_drop_before_the_language_model_is_refused():
    with pytest.raises(ValueError, match="must not be cropped|drop at layer 0"):
        ask_next("embedded", "uniform", average=48, layers=[0], n=1)
