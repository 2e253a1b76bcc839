"""Text models: which tokens are the text's, and that a method drops those and no others."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
import torch

from analysis import (
    accuracy,
    accuracy_at_averages,
    content_position_table,
    kept_at_end,
    kept_on_objects,
    load,
    scored,
    token_labels,
)
from analysis.models.loaded_argument import check_text_model
from analysis.models.text import LoadedText
from analysis.scenes.facts import TextQuestion, TextScene, text_sample
from tests.support.text_models import QUESTIONS, TEXTS, text_model
from v2drop import DART, FastV, Random, Schedule, Uniform, V2Drop

PAIRS = [
    (TextScene(text), TextQuestion("any", question, "hat")) for text, question in zip(TEXTS, QUESTIONS, strict=True)
]


def decoded(loaded, ids):
    return loaded.processor.decode(ids)


def test_marks_the_tokens_of_the_texts():
    loaded = text_model()
    inputs = loaded.inputs(TEXTS, QUESTIONS)
    mask = loaded.vision_mask(inputs)
    for row, text in enumerate(TEXTS):
        assert decoded(loaded, inputs["input_ids"][row, mask[row]]) == text
        present = inputs["attention_mask"][row].bool()
        assert decoded(loaded, inputs["input_ids"][row, present]) == f"<bos>{text}\n{QUESTIONS[row]}"
    assert not (mask & (inputs["attention_mask"] == 0)).any()


def test_says_which_characters_a_token_is():
    loaded = text_model()
    spans = loaded.text_spans(TEXTS[0])
    assert spans == [(i, i + 1) for i in range(len(TEXTS[0]))]  # the tokenizer's words are bytes
    assert len(loaded.text_spans("é")) == 2  # two bytes of one character


@pytest.mark.parametrize("method", [V2Drop, Random, Uniform, FastV, DART])
def test_methods_drop_tokens_of_the_text_alone(method):
    loaded = text_model()
    inputs = loaded.inputs(TEXTS, QUESTIONS)
    mask = loaded.vision_mask(inputs)
    with loaded.dropping(method(Schedule({2: 4})), inputs) as trace, torch.no_grad():
        loaded.model(**inputs)
    for row, kept in enumerate(trace.kept[2]):
        kept = kept[kept >= 0]
        assert len(kept) == 4 and mask[row, kept].all()
        assert trace.vision_tokens[0][row] == mask[row].sum()


def test_answers_and_scores_are_those_of_each_text_alone():
    loaded = text_model()
    methods = {"none": None, "V2Drop": V2Drop(Schedule({2: 0.5})), "random": Random(Schedule({2: 0.5}))}
    together = accuracy(loaded, PAIRS, methods, max_new_tokens=2)
    alone = pd.concat(
        [accuracy(loaded, [pair], methods, max_new_tokens=2).assign(question=i) for i, pair in enumerate(PAIRS)]
    )
    joined = together.merge(alone, on=["method", "question"])
    assert (joined.reply_x == joined.reply_y).all() and len(joined) == 9
    torch.testing.assert_close(*(torch.tensor(joined[f"log_probability_{x}"]) for x in "xy"), rtol=1e-4, atol=1e-4)
    assert (joined.average_tokens_x == joined.average_tokens_y).all()
    scores = scored(loaded, PAIRS, [1])
    one = scored(loaded, PAIRS[1:2], [1])
    same = scores[scores["sample"] == 1].reset_index(drop=True)
    columns = ["variation_l2", "attention_last", "key_norm", "random"]
    pd.testing.assert_frame_equal(same[columns], one[columns], rtol=1e-4)
    assert same.vision_index.tolist() == list(range(len(TEXTS[1])))


def test_kept_tokens_are_counted_within_the_text():
    kept = kept_at_end(text_model(), PAIRS, {"uniform": Uniform(Schedule({2: 3}))})
    assert kept.groupby("question").size().tolist() == [3, 3, 3]
    assert all(kept[kept.question == i].token.max() < len(text) for i, text in enumerate(TEXTS))


def test_answers_follow_the_question():
    loaded = text_model()
    ids = loaded.answer_ids("Ben sold a", "hat")
    assert decoded(loaded, ids) == " hat"


def test_refuses_what_is_no_text(embedded, asked, without_type_checker):
    loaded = text_model()
    with pytest.raises(ValueError, match=r"this is a text model: texts .*; got \['ndarray'\].$"):
        loaded.inputs(*asked)
    with pytest.raises(ValueError, match="must be a list of strings .*; got a str"):
        loaded.inputs(TEXTS[0], QUESTIONS[:1])
    for blank in ("Ben sold a hat. ", "Ben\n", ""):
        with pytest.raises(ValueError, match="do not end in blank space"):
            loaded.inputs([blank], ["Ben"])
        with pytest.raises(ValueError, match="do not end in blank space"):
            loaded.text_spans(blank)
    with pytest.raises(ValueError, match="one text a question.*got 2 texts and 1 questions"):
        loaded.inputs(TEXTS[:2], QUESTIONS[:1])
    with pytest.raises(ValueError, match="and videos"):
        loaded.inputs(TEXTS[:1], QUESTIONS[:1], [None])
    with pytest.raises(ValueError, match="what Loaded.inputs gives; got a dict"):
        loaded.vision_mask({"input_ids": torch.zeros(1, 2)})
    with pytest.raises(ValueError, match="lie in no grid"):
        loaded.token_grids(None)
    with pytest.raises(ValueError, match="answers must be a list of strings"):
        loaded.answer_ids("Ben", 3)
    with pytest.raises(ValueError, match="must be a text model.*got one of type 'llava'"):
        check_text_model(embedded)


def test_a_picture_model_is_not_asked_about_texts(embedded):
    with pytest.raises(ValueError, match="picture"):
        scored(embedded, text_sample(1), [0])


def test_a_saved_text_model_is_loaded_as_one(tmp_path):
    loaded = text_model()
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, LoadedText) and again.family == "llama" and again.n_layers == loaded.n_layers
    columns = ["variation_l2", "attention_last"]
    pd.testing.assert_frame_equal(*(scored(each, PAIRS, [1])[columns] for each in (loaded, again)))


def test_a_tokenizer_without_padding_and_start_is_enough(tmp_path):
    """As those of Llama and Qwen2."""
    words = copy.deepcopy(text_model().processor)
    words.pad_token = words.bos_token = None
    text_model().model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.processor.bos_token is None and len(scored(loaded, PAIRS, [1])) == sum(map(len, TEXTS))
    with pytest.raises(ValueError, match="without a start token"):
        replace(loaded, drops_start=True)


def test_functions_of_pictures_refuse_texts(without_type_checker):
    pair = text_sample(1)[0]
    with pytest.raises(ValueError, match="must be about a picture here; got one about a text"):
        token_labels([pair], 144)
    with pytest.raises(ValueError, match="must be about a picture here"):
        content_position_table(text_model(), [pair], [0])
    with pytest.raises(ValueError, match="schedules hold shares"):
        accuracy_at_averages(text_model(), PAIRS, 10, ["random"])


def test_shares_on_facts_and_beside_them():
    shares = kept_on_objects(text_model(), text_sample(3), {"uniform": Uniform(Schedule({2: 0.5}))}, 2)
    assert ((shares.on_digits - 0.5).abs() < 0.1).all() and ((shares.beside - 0.5).abs() < 0.1).all()


def test_the_start_token_may_be_one_of_the_text():
    loaded = replace(text_model(), drops_start=True)
    inputs = loaded.inputs(TEXTS, QUESTIONS)
    for row, mask in enumerate(loaded.vision_mask(inputs)):
        assert decoded(loaded, inputs["input_ids"][row, mask]) == f"<bos>{TEXTS[row]}"
    assert loaded.text_spans("Ben") == [(0, 0), (0, 1), (1, 2), (2, 3)]
