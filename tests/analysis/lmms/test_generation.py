"""What tasks say about generation means what it means in transformers; stop texts end replies, and only replies."""

import pytest
import torch

from analysis.lmms.generation import LONGEST, StopAtText, generation

POPE = {"max_new_tokens": 128, "temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False}


@pytest.mark.parametrize(
    ("told", "settings"),
    [
        (POPE, {"max_new_tokens": 128, "num_beams": 1, "do_sample": False}),
        ({}, {"max_new_tokens": LONGEST, "do_sample": False}),
        ({"temperature": 0.7}, {"max_new_tokens": LONGEST, "do_sample": True, "temperature": 0.7}),
        ({"do_sample": False, "temperature": 0.7}, {"max_new_tokens": LONGEST, "do_sample": False}),
        ({"do_sample": True, "temperature": 0}, {"max_new_tokens": LONGEST, "do_sample": False}),
        ({"do_sample": True, "top_p": 0.9}, {"max_new_tokens": LONGEST, "do_sample": True, "top_p": 0.9}),
        ({"num_beams": 3, "max_new_tokens": None}, {"max_new_tokens": LONGEST, "do_sample": False, "num_beams": 3}),
    ],
)
def test_settings_of_a_task(told, settings):
    assert generation(told).settings == settings


def test_stop_texts_are_one_or_several_and_other_names_are_told():
    assert generation({"until": "ASSISTANT:"}).until == ("ASSISTANT:",)
    assert generation({"until": ["\n\n", ""], "image_aspect_ratio": "pad"})[1:] == (("\n\n",), ("image_aspect_ratio",))


@pytest.mark.parametrize("told", [{"until": 3}, {"until": [3]}, {"max_new_tokens": 0}, {"max_new_tokens": "long"}])
def test_wrong_settings_are_refused(told):
    with pytest.raises(ValueError, match=next(iter(told))):
        generation(told)


def test_a_row_ends_by_its_own_reply_and_not_by_its_prompt(embedded):
    tokenizer = embedded.processor.tokenizer
    ids = tokenizer(["is there a 3 red blue", "is there a 3 red red"], add_special_tokens=False)["input_ids"]
    ended = [StopAtText(embedded.processor, start, ["blue", "there"])(torch.tensor(ids), None) for start in (4, 0)]
    assert [each.tolist() for each in ended] == [[True, False], [True, True]]
