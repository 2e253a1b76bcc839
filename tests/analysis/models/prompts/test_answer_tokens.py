"""The ids of an answer follow the prompt that `inputs` makes, in every family; what cannot follow is refused."""

import numpy
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from analysis.comparison.accuracy import accuracy
from analysis.models.loaded import Loaded
from analysis.models.prompts import chat_prompts
from analysis.scenes.mosaic import Scene
from analysis.scenes.questions import Question
from tests.support import zoo
from tests.support.zoo_processors import PROCESSORS
from tests.support.zoo_words import BYTES, SPECIAL

PICTURE = numpy.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=numpy.uint8)
QUESTION, ANSWERS = "what is it", ("y", "a cat", " two ", "1, 2")
PALIGEMMA = ("paligemma", "paligemma2")


def loaded(name):
    processor = PROCESSORS[name]()
    if name not in PALIGEMMA:
        processor.chat_template = zoo.template(name) + ":"
    return Loaded(name, zoo.model(name, "eager"), processor)


def whole(asked, answer):
    """Prompt and answer as one text through the processor; PaliGemma's own way of training, its end token left out."""
    text = chat_prompts.prompt(asked.processor, asked.family, QUESTION)
    given = {"images": [[PICTURE]] if asked.family != "video_llava" else [PICTURE], "return_tensors": "pt"}
    if asked.name in PALIGEMMA:
        made = asked.processor(text=[text], suffix=[answer], **given)
        made = {key: value[:, :-1] if value.ndim == 2 else value for key, value in made.items()}
        labels = made.pop("labels")[0]
        return made, labels[labels >= 0].tolist()
    return asked.processor(text=[f"{text} {answer}"], **given), None


@pytest.mark.parametrize("name", PROCESSORS)
def test_an_answer_follows_the_prompt_and_is_scored_as_by_teacher_forcing(name):
    asked = loaded(name)
    prompt = asked.inputs([PICTURE], [QUESTION])["input_ids"][0].tolist()
    for answer in ANSWERS:
        made, labels = whole(asked, answer)
        ids = asked.answer_ids(QUESTION, answer)
        assert prompt + ids == made["input_ids"][0].tolist() and labels in (None, ids)
        with torch.no_grad():
            logits = asked.model(**{key: value for key, value in made.items() if key != "labels"}).logits[0]
        forced = logits.double().log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(ids)[:, None]).sum()
        table = accuracy(asked, [(Scene(PICTURE), Question("own", QUESTION, answer))], {"plain": None})
        assert table.log_probability.item() == pytest.approx(forced.item(), abs=1e-3)


def merging(merges, prefix_space=False):
    """A byte-level tokenizer with some merges."""
    vocabulary = {token: i for i, token in enumerate([*BYTES, *("".join(merge) for merge in merges)])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(SPECIAL)
    names = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


def with_tokenizer(tokenizer, ending=": "):
    asked = loaded("llava")
    asked.processor.tokenizer, asked.processor.image_token_id = tokenizer, tokenizer.convert_tokens_to_ids("<image>")
    asked.processor.chat_template = zoo.template("llava") + ending
    return asked


def test_a_token_across_the_join_does_not_take_the_answer_with_it():
    asked = with_tokenizer(merging([("Ġ", "c"), ("Ġc", "a")]))
    ids = asked.answer_ids(QUESTION, "cat")
    prompt = asked.inputs([PICTURE], [QUESTION])["input_ids"][0].tolist()
    assert asked.processor.decode(ids) == "cat" and asked.processor.decode(prompt + ids).endswith("it: cat")
    asked = with_tokenizer(merging([(":", "Ġ"), (":Ġ", "c")]), ending=":")
    assert asked.processor.decode(asked.answer_ids(QUESTION, "cat")) == " cat"


def test_an_answer_that_cannot_follow_the_prompt_is_refused():
    asked = with_tokenizer(merging([("Ġ", "c")], prefix_space=True))
    with pytest.raises(ValueError, match="joins the end of the prompt and the answer 'cat' in one token, so that no"):
        asked.answer_ids(QUESTION, "cat")


def test_a_tokenizer_that_ends_every_text_is_refused():
    tokenizer = merging([])
    end = processors.TemplateProcessing("$A <eos>", "$A $B <eos>", [("<eos>", tokenizer.eos_token_id)])
    tokenizer.backend_tokenizer.post_processor = end
    asked = with_tokenizer(tokenizer)
    for call in (lambda: asked.inputs([PICTURE], [QUESTION]), lambda: asked.answer_ids(QUESTION, "cat")):
        with pytest.raises(ValueError, match=r"appends its end token '<eos>' to every text, .*add_eos_token = False"):
            call()
    asked.processor.chat_template += "<eos>"  # that the template itself has written is no fault of the tokenizer's
    assert asked.inputs([PICTURE], [QUESTION])["input_ids"][0, -1] == tokenizer.eos_token_id


@pytest.mark.parametrize("answer", ["", " \n", None, 7, ["cat"]])
def test_an_answer_is_a_text(answer, without_type_checker):
    with pytest.raises(ValueError, match="an answer must be a text that is not blank; got"):
        loaded("llava").answer_ids(QUESTION, answer)
    with pytest.raises(ValueError, match="questions must be a list of strings"):
        loaded("llava").answer_ids(7, "7")


def test_an_answer_without_words_in_the_vocabulary_is_refused(embedded):
    with pytest.raises(ValueError, match="has no tokens for the answer 'banana'"):
        embedded.answer_ids("what digit is red", "banana")
